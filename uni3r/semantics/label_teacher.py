"""Teacher for labelled data: the feature of a pixel is the text vector of its class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from uni3r.semantics.labels import LabelSet, load_label_set
from uni3r.semantics.text_encoder import BARE_WORD, TextEncoder, Words, embed_words


class LabelTeacher(nn.Module):
    """Labels and any text encoder in place of an image network.

    A model trained with it can be queried with words that are no label, as far as the encoder places them near a class
    ("couch" near "sofa"); things that no label distinguishes stay indistinguishable.

    K classes span at most K dimensions of the encoder's space, and a model trained on them renders nothing outside that
    span. Features and words are therefore expressed in an orthonormal basis of it: K channels instead of hundreds, and
    the cosine of a feature with a word is *exactly* that of the full space. For this, a word's vector keeps the length
    of its projection into the span, at most 1; normalizing it again would give unrelated words high scores. The basis
    is that of Gram-Schmidt on the class vectors in order, which is unique and needs no file: the first channel is the
    first class, the second what the second class adds, and so on.
    """

    def __init__(self, encoder: TextEncoder, labels: LabelSet | str) -> None:
        """
        Args:
            encoder: embeds the words of the classes, and later those of queries.
            labels: the label set of the data, or its name.

        Raises:
            ValueError: two classes have the same words, or there are more classes than channels.
        """
        super().__init__()
        self.encoder = encoder
        self.labels = labels if isinstance(labels, LabelSet) else load_label_set(labels)
        class_vectors, self.basis = _in_own_span(
            embed_words(encoder, self.labels.words, self.labels.templates), self.labels
        )
        self.class_vectors: Tensor
        # One more row, of zeros, for unlabelled pixels.
        rows = torch.cat([class_vectors, torch.zeros_like(class_vectors[:1])])
        self.register_buffer("class_vectors", rows, persistent=False)

    @property
    def width(self) -> int:
        """K, channels of a feature: one per class."""
        return len(self.labels)

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Text vectors of the labels.

        Args:
            images: ignored.
            labels: (B, V, H, W) int64 classes; any other number, such as 255, is unlabelled.

        Returns:
            (B, V, K, H, W): unit vectors, zero where unlabelled.

        Raises:
            ValueError: without labels.
        """
        if labels is None:
            raise ValueError("the label teacher learns from labels, and these views have none")
        known = (labels >= 0) & (labels < len(self.labels))
        rows = torch.where(known, labels, len(self.labels))
        return self.class_vectors[rows].movedim(-1, -3)

    def text(self, words: Words, templates: Sequence[str] = BARE_WORD) -> Tensor:
        """(W, K) vectors of words, at most of unit length: their projections into the span of the classes."""
        vectors = embed_words(self.encoder, words, templates)
        return (vectors @ self.basis.to(vectors).T).to(self.class_vectors)


def _in_own_span(vectors: Tensor, labels: LabelSet) -> tuple[Tensor, Tensor]:
    """(K, C) vectors to their (K, K) coordinates and the (K, C) orthonormal basis, in Gram-Schmidt's order.

    The Cholesky factor of the Gram matrix is the coordinates.
    """
    exact = vectors.double()
    factor, failed = torch.linalg.cholesky_ex(exact @ exact.T)
    if int(failed) or factor.diagonal().min() < 1e-3:
        first = int(failed) - 1 if int(failed) else int(factor.diagonal().argmin())
        raise ValueError(f"label set {labels.name}: the words of {labels.names[first]!r} say nothing new")
    basis = torch.linalg.solve_triangular(factor, exact, upper=False)
    return factor.float(), basis.float()
