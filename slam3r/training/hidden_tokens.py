"""Tokens withheld in training, so that a network must look elsewhere: in another encoder, or in another view."""

from __future__ import annotations

import torch
from torch import Tensor


def blind_encoder(tokens: Tensor, width: int, share: float) -> Tensor:
    """Set the encoder's channels of a share of the windows to zero: the decoder sees with the stem alone.

    Args:
        tokens: (B, V, N, E); the first ``width`` channels are the encoder's.
        width: channels of the encoder.
        share: probability that a window is blinded.
    """
    seeing = torch.rand(len(tokens), 1, 1, 1, device=tokens.device) >= share
    return torch.cat([tokens[..., :width] * seeing, tokens[..., width:]], dim=-1)


def hide_patches(tokens: Tensor, view: int, grid: tuple[int, int], share: float, hidden: float) -> Tensor:
    """Set blocks of patches of one view to zero in a share of the windows, encoder and stem alike.

    What is hidden can be known from the other views alone, where they see the same place: cross-view completion
    (CroCo, Weinzaepfel et al., NeurIPS 2022) whose answer is a pointmap in place of a picture. Hidden are blocks of
    2 x 2 patches, since the neighbours of a single patch give it away.

    Args:
        tokens: (B, V, N, E) in row-major order of the grid.
        view: the view that loses patches.
        grid: rows and columns of patches.
        share: probability that a window loses patches.
        hidden: share of the blocks that are hidden there.
    """
    rows, columns = grid
    shape = (len(tokens), 1, -(-rows // 2), -(-columns // 2))
    kept = torch.rand(shape, device=tokens.device) >= hidden
    kept = kept | (torch.rand(len(tokens), 1, 1, 1, device=tokens.device) >= share)
    kept = (
        kept.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)[..., :rows, :columns].reshape(len(tokens), 1, -1)
    )
    mask = torch.ones(tokens.shape[:3], dtype=torch.bool, device=tokens.device)
    mask[:, view] = kept.reshape(len(tokens), -1)
    return tokens * mask[..., None]
