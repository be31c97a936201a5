"""LSeg as a semantic teacher: image features and CLIP text from one published file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from uni3r.semantics.clip_text import ClipTextEncoder
from uni3r.semantics.lseg import LSeg
from uni3r.semantics.lseg_checkpoint import lseg_from_state, read_lseg
from uni3r.semantics.text_encoder import BARE_WORD, Words, embed_words

ImageRange = Literal["minus_one_to_one", "zero_to_one"]


class LSegTeacher(nn.Module):
    """Teacher with 512 channels at half the resolution."""

    def __init__(self, network: LSeg, encoder: ClipTextEncoder, image_range: ImageRange = "minus_one_to_one") -> None:
        """
        Args:
            network: image side.
            encoder: text side.
            image_range: range of the images that the network receives. LSeg was trained on [-1, 1]; the published Uni3R
                training uses [0, 1] in its language loss, so the released weights were trained on those targets.
        """
        if image_range not in ("minus_one_to_one", "zero_to_one"):
            raise ValueError(f"unknown image range {image_range!r}; expected 'minus_one_to_one' or 'zero_to_one'")
        super().__init__()
        self.network, self.encoder, self.image_range = network, encoder, image_range

    @classmethod
    def from_pretrained(cls, source: str | Path, image_range: ImageRange = "minus_one_to_one") -> LSegTeacher:
        """Load both sides from ``demo_e200.ckpt`` or a Uni3R file.

        Raises:
            CheckpointError: naming the file and every tensor that does not fit.
        """
        state = read_lseg(source)
        return cls(lseg_from_state(state, str(source)), ClipTextEncoder.from_state(state, str(source)), image_range)

    @property
    def width(self) -> int:
        """C, channels of a feature."""
        return self.network.sizes.channels

    @torch.no_grad()
    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, V, 3, H, W) in [-1, 1], sides multiples of 32, to (B, V, C, H/2, W/2). Labels are ignored."""
        return self.network((images + 1) / 2 if self.image_range == "zero_to_one" else images)

    def text(self, words: Words, templates: Sequence[str] = BARE_WORD) -> Tensor:
        """(W, C) unit vectors of words; the published prompt is the bare word."""
        return embed_words(self.encoder, words, templates)
