"""Tokens withheld in training: whole blocks of patches of one view, in a share of the windows."""

import torch

from slam3r.training.hidden_tokens import blind_encoder, hide_patches


def test_a_hidden_patch_of_the_reference_leaves_no_trace_in_its_tokens() -> None:
    torch.manual_seed(0)
    tokens = torch.rand(64, 3, 6, 4) + 1  # 2 x 3 patches: blocks of 2 x 2 and what is left of one
    hidden = hide_patches(tokens, 1, (2, 3), share=0.5, hidden=0.5)
    assert torch.equal(hidden[:, [0, 2]], tokens[:, [0, 2]])
    kept = (hidden[:, 1] == tokens[:, 1]).all(-1)
    assert ((hidden[:, 1] == 0).all(-1) == ~kept).all()
    grid = kept.view(64, 2, 3)
    assert (grid[:, 0] == grid[:, 1]).all() and (grid[..., 0] == grid[..., 1]).all()
    hurt = (~kept).any(1).float().mean()  # half of the windows, less those whose two blocks were both spared
    assert 0.2 < hurt < 0.55


def test_a_blinded_window_keeps_the_channels_of_the_stem() -> None:
    torch.manual_seed(0)
    tokens = torch.rand(40, 2, 5, 6) + 1
    blinded = blind_encoder(tokens, 4, share=0.5)
    assert torch.equal(blinded[..., 4:], tokens[..., 4:])
    gone = (blinded[..., :4] == 0).flatten(1)
    assert (gone.all(1) | ~gone.any(1)).all() and 0.2 < gone.all(1).float().mean() < 0.8
