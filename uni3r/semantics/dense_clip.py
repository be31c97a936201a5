"""Any vision transformer of open_clip as a semantic teacher, without training.

CLIP's image tower is trained through its class token, but the values of its last attention, before mixing, lie in the
text space for every patch: skip the mixing (MaskCLIP, Zhou et al. 2022, section 3.2). Coarser than LSeg, with one
vector per patch, but works with most vision transformers of open_clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, normalize

from common.errors import CheckpointError
from uni3r.semantics.text_encoder import BARE_WORD, Words, embed_words


class DenseClipTeacher(nn.Module):
    """One feature per patch of an image resized to what the model was trained on."""

    def __init__(self, architecture: str, pretrained: str | None) -> None:
        """
        Args:
            architecture: open_clip's name, e.g. ``ViT-B-16``.
            pretrained: open_clip's tag of weights (looked up on the hub), or a file; None for random weights.

        Raises:
            ImportError: naming the extra to install.
            CheckpointError: the weights can be neither found nor downloaded.
            ValueError: the image tower is not a plain vision transformer.
        """
        super().__init__()
        model, mean, deviation, self._tokenize = _create(architecture, pretrained)
        self.model = model.requires_grad_(False).eval()
        self.architecture = architecture
        visual = self.model.visual
        if not hasattr(visual, "transformer") or not hasattr(visual.transformer.resblocks[-1].attn, "in_proj_weight"):
            raise ValueError(f"{architecture}: the dense teacher needs a plain vision transformer, such as ViT-B-16")
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)

    @property
    def width(self) -> int:
        """C, channels of a feature."""
        return self.model.visual.output_dim

    def train(self, mode: bool = True) -> DenseClipTeacher:
        """Keep evaluation mode, whatever the parent's mode."""
        return super().train(False)

    @torch.no_grad()
    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, V, 3, H, W) in [-1, 1] to (B, V, C, h, w) on the model's patch grid. Labels are ignored."""
        visual = self.model.visual
        flat = interpolate(images.flatten(0, 1), visual.image_size, mode="bicubic", antialias=True)
        inputs = ((flat.clamp(-1, 1) + 1) / 2 - self.mean) / self.deviation
        before_last = len(visual.transformer.resblocks) - 2
        streams = visual.forward_intermediates(
            inputs, indices=[before_last], stop_early=True, intermediates_only=True, output_fmt="NLC"
        )["image_intermediates"]
        tokens = self._last_block_unmixed(streams[0])
        projected = tokens @ visual.proj if visual.proj is not None else tokens
        grid = visual.grid_size
        return projected.transpose(1, 2).unflatten(2, grid).unflatten(0, images.shape[:2])

    @torch.no_grad()
    def text(self, words: Words, templates: Sequence[str] = BARE_WORD) -> Tensor:
        """(W, C) unit vectors of words."""
        return embed_words(self, words, templates)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """(P, C) unit vectors of P prompts: the teacher is its own `TextEncoder`."""
        return normalize(self.model.encode_text(self._tokenize(list(prompts)).to(self.mean.device)).float(), dim=-1)

    def _last_block_unmixed(self, tokens: Tensor) -> Tensor:
        """Last block, with every patch attending only to itself, then the final norm."""
        block = self.model.visual.transformer.resblocks[-1]
        attention, channels = block.attn, tokens.shape[-1]
        weight, bias = attention.in_proj_weight[2 * channels :], attention.in_proj_bias[2 * channels :]
        values = attention.out_proj(linear(block.ln_1(tokens), weight, bias))
        tokens = tokens + block.ls_1(values)
        tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
        return self.model.visual.ln_post(tokens)


def _create(architecture: str, pretrained: str | None) -> tuple:
    try:
        import open_clip
    except ImportError as error:
        raise ImportError("the dense CLIP teacher needs open_clip: bash scripts/setup.sh uni3r") from error
    try:
        model = open_clip.create_model(architecture, pretrained=pretrained)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"open_clip cannot build {architecture} with weights {pretrained!r}: {reason}") from error
    settings = open_clip.get_model_preprocess_cfg(model)
    return model, settings["mean"], settings["std"], open_clip.get_tokenizer(architecture)
