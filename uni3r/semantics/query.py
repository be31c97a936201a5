"""Open-vocabulary queries of pixels or Gaussians.

Features and words share the teacher's space. Features of the published model are first expanded from 64 to 512
channels (the model's feature compressor).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from uni3r.semantics.labels import LabelSet, label_set_of_words
from uni3r.semantics.teacher import TextSide
from uni3r.semantics.text_encoder import BARE_WORD

LOGIT_SCALE = 1 / 0.07
"""Inverse temperature of LSeg; a constant there (absent from the checkpoint)."""
CANONICAL_NEGATIVES = ("object", "things", "stuff", "texture")
"""Canonical negative words for relevance scores (LERF, Kerr et al. 2023, section 3.4)."""


def text_logits(features: Tensor, text: Tensor, dim: int = -1, scale: float = LOGIT_SCALE) -> Tensor:
    """Scaled cosine of every feature with every word (for words shorter than 1, the product with the unit feature).

    Args:
        features: any shape with C channels on axis ``dim``: -1 for Gaussians (B, N, C), -3 for images (B, V, C, H, W).
            A zero feature (an empty pixel) gets logit 0 for all words.
        text: (W, C) vectors of a teacher's `text`.
        dim: axis of the channels.
        scale: inverse temperature.

    Returns:
        The shape of the features with W in place of C.

    Raises:
        ValueError: features and words have different numbers of channels.
    """
    channels = features.shape[dim]
    if channels != text.shape[-1]:
        raise ValueError(f"features of {channels} channels cannot be asked with words of {text.shape[-1]} channels")
    lengths = features.norm(dim=dim, keepdim=True).clamp(min=1e-12)
    products = torch.tensordot(features.movedim(dim, -1), (scale * text).to(features), dims=([-1], [-1]))
    return products.movedim(-1, dim) / lengths


def resize_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (..., W, h, w) logits to (height, width), with aligned corners, as in LSeg."""
    flat = logits.flatten(0, -4) if logits.ndim > 3 else logits[None]
    return interpolate(flat, size, mode="bilinear", align_corners=True).reshape(*logits.shape[:-2], *size)


@dataclass(frozen=True)
class Query:
    """A list of words, embedded once. `labels` gives their names and colours."""

    labels: LabelSet
    text: Tensor
    """(W, C) vectors of the words."""
    negatives: Tensor
    """(M, C) vectors of the negatives for relevance."""
    rivals: Tensor
    """(W, M) bool: which negatives apply to which word."""
    scale: float = LOGIT_SCALE

    @classmethod
    def of(
        cls,
        teacher: TextSide,
        words: Sequence[str] | LabelSet,
        templates: Sequence[str] = BARE_WORD,
        negatives: Sequence[str] | LabelSet = CANONICAL_NEGATIVES,
        scale: float = LOGIT_SCALE,
    ) -> Query:
        """Embed the words.

        Args:
            teacher: the teacher that the model was trained with (its text side is enough).
            words: any words, or a label set (which has templates of its own).
            templates: prompts around the words, each with one ``{}``.
            negatives: words for "anything else"; or the label set that the features were trained on: then every word is
                compared with all classes except the one nearest to it. Use that with a label teacher, whose features
                have no values between the classes.
            scale: inverse temperature.
        """
        labels = words if isinstance(words, LabelSet) else label_set_of_words(words, templates)
        text = teacher.text(labels.words, labels.templates)
        if isinstance(negatives, LabelSet):
            classes = teacher.text(negatives.words, negatives.templates)
            own = (text @ classes.T).argmax(dim=1, keepdim=True)
            return cls(labels, text, classes, own != torch.arange(len(classes), device=own.device), scale)
        others = teacher.text(negatives)
        return cls(labels, text, others, text.new_ones(len(text), len(others), dtype=torch.bool), scale)

    def to(self, device: torch.device | str) -> Query:
        """The same query on another device."""
        text, negatives, rivals = (tensor.to(device) for tensor in (self.text, self.negatives, self.rivals))
        return Query(self.labels, text, negatives, rivals, self.scale)

    def logits(self, features: Tensor, dim: int = -1) -> Tensor:
        """Logits of every word; see `text_logits`."""
        return text_logits(features, self.text, dim, self.scale)

    def segment(self, features: Tensor, dim: int = -1, size: tuple[int, int] | None = None) -> Tensor:
        """Best word of every feature.

        Args:
            features: Gaussians (dim -1) or images (dim -3).
            dim: axis of the channels.
            size: (height, width) to which logits of images are resized before the choice; None keeps their size.

        Returns:
            The shape of the features without the channels: int64 numbers of words.
        """
        logits = self.logits(features, dim)
        return (logits if size is None else resize_logits(logits, size)).argmax(dim=dim)

    def relevance(self, features: Tensor, dim: int = -1) -> Tensor:
        """LERF's relevance score of every word, in [0, 1], 0.5 where undecided.

        The minimum over negatives of the pairwise softmax of word and negative (Kerr et al. 2023, section 3.4).
        An empty pixel has 0.

        Returns:
            The shape of the features with W in place of C.
        """
        positive = self.logits(features, dim).movedim(dim, -1)
        negative = text_logits(features, self.negatives, dim, self.scale).movedim(dim, -1)
        hardest = torch.stack([negative[..., rivals].amax(dim=-1) for rivals in self.rivals], dim=-1)
        occupied = features.norm(dim=dim, keepdim=True) > 0
        return torch.sigmoid(positive - hardest).movedim(-1, dim) * occupied

    def share(self, features: Tensor, dim: int = -1) -> Tensor:
        """Softmax probability of each word against its negatives, in (0, 1).

        An empty pixel has 0.

        Returns:
            The shape of the features with W in place of C.
        """
        positive = self.logits(features, dim).movedim(dim, -1)
        negative = text_logits(features, self.negatives, dim, self.scale).movedim(dim, -1)
        shares = [
            torch.sigmoid(positive[..., word] - negative[..., rivals].logsumexp(dim=-1))
            for word, rivals in enumerate(self.rivals)
        ]
        return torch.stack(shares, dim=dim) * (features.norm(dim=dim, keepdim=True) > 0)

    def masks(self, features: Tensor, dim: int = -1, threshold: float = 0.5) -> Tensor:
        """Masks where the relevance of a word exceeds a threshold; bool, the shape of `relevance`."""
        return self.relevance(features, dim) > threshold
