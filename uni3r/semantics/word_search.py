"""Heat maps of the things in a scene that a word names, scaled for viewing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uni3r.semantics.labels import LabelSet
from uni3r.semantics.query import Query
from uni3r.semantics.teacher import TextSide

_SOFT_SCALE = 2.0
"""Inverse temperature of the softmax with the classes. At the training value (14) the softmax saturates and uncertain
objects stay dark. Of 2, 5 and 14, this gives the best overlap of heat above 0.5 with the truth on eight held-out
rooms."""
_HIGH, _MIDDLE = 0.995, 0.5
"""Quantiles of a word's scores in the scene."""


@dataclass(frozen=True)
class WordSearch:
    """Search for words against competing classes, embedded once.

    A score is the softmax of the word against the classes of a label set, without the class nearest to the word. Heat
    is the score relative to the rest of the scene, as LangSplat shows it (Qin et al. 2024, section 4). If LERF's
    relevance (Kerr et al. 2023, section 3.4) nowhere exceeds one half, the object is absent and the heat is zero.
    """

    against_classes: Query
    against_anything: Query

    @classmethod
    def of(cls, teacher: TextSide, words: Sequence[str], labels: LabelSet) -> WordSearch:
        """Embed words; ``labels`` are the classes that compete with them.

        Raises:
            ConfigurationError: there are no words, or one is given twice.
        """
        return cls(Query.of(teacher, words, negatives=labels, scale=_SOFT_SCALE), Query.of(teacher, words))

    @property
    def words(self) -> tuple[str, ...]:
        """Words of the search."""
        return self.against_classes.labels.names

    def heat(self, features: Tensor) -> Tensor:
        """Heat of every pixel.

        Args:
            features: (V, C, h, w) of all views of a scene, in the space of words; zeros where nothing was rendered.

        Returns:
            (V, W, h, w) in [0, 1]: 1 where the word fits best in these views, 0 where it fits no better than on
            average.
        """
        anything = self.against_anything.to(features.device).relevance(features, dim=-3)
        found = (anything > 0.5).any(dim=-1).any(dim=-1).any(dim=0)
        occupied = features.norm(dim=-3) > 0
        score = self.against_classes.to(features.device).share(features, dim=-3)
        rows = [self._stretched(score[:, word], occupied) for word in range(score.shape[1])]
        return torch.stack(rows, dim=1) * found[:, None, None]

    @staticmethod
    def _stretched(score: Tensor, occupied: Tensor) -> Tensor:
        """Stretch one word's scores (V, h, w) from the scene's median to its maximum."""
        values = score[occupied]
        if len(values) == 0:
            return torch.zeros_like(score)
        ranked = values.sort().values
        high = ranked[round(_HIGH * (len(ranked) - 1))]
        low = torch.minimum(ranked[round(_MIDDLE * (len(ranked) - 1))], high / 2)  # the object may fill the view
        return ((score - low) / (high - low).clamp_min(1e-6)).clamp(0, 1) * occupied
