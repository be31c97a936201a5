"""Interface of semantic teachers: features of pixels, and vectors of words in the same space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from uni3r.semantics.text_encoder import BARE_WORD, Words


@runtime_checkable
class TextSide(Protocol):
    """Text side of a teacher, which is all that queries of a trained model need."""

    @property
    def width(self) -> int:
        """C, channels of a feature and of a word's vector."""

    def text(self, words: Words, templates: Sequence[str] = BARE_WORD) -> Tensor:
        """(W, C) vectors of words or groups of words, of unit length (shorter only if an implementation states it)."""


@runtime_checkable
class Teacher(TextSide, Protocol):
    """Teacher built from ``configs/teacher``. Frozen; used in training, and afterwards only for its text side.

    An implementation is an ``nn.Module``: it moves to a device with its parents, and stays in evaluation mode.
    """

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Features of every pixel, possibly at a lower resolution.

        Args:
            images: (B, V, 3, H, W) in [-1, 1].
            labels: (B, V, H, W) int64 classes, 255 where unlabelled; only teachers that learn from labels read them.

        Returns:
            (B, V, C, h, w), no gradient, not necessarily of unit length. Zero vectors are excluded from the loss.
        """
