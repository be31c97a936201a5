"""Where in a scene the things are that a word names: heat maps that can be read off by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uni3r.semantics.labels import LabelSet
from uni3r.semantics.query import Query
from uni3r.semantics.teacher import TextSide

_SOFT_SCALE = 2.0
"""Inverse temperature of the competition with the classes. At that of training (14) the winner takes all: a thing that
the model only half knows stays dark. Best overlap of heat above one half with the truth among 2, 5 and 14, on eight
rooms that no training saw."""
_HIGH, _MIDDLE = 0.995, 0.5
"""Quantiles of a word's scores in the scene."""


@dataclass(frozen=True)
class WordSearch:
    """Words against what else could be there, embedded once.

    A score is the softmax of the word against the classes of a label set, without the class that the word itself is
    nearest to. Heat is the score relative to the rest of the scene, as LangSplat shows it (Qin et al. 2024, section 4).
    Where LERF's relevance (Kerr et al. 2023, section 3.4) rates none of the scene above one half, the word is not
    there, and there is no heat.
    """

    against_classes: Query
    against_anything: Query

    @classmethod
    def of(cls, teacher: TextSide, words: Sequence[str], labels: LabelSet) -> WordSearch:
        """Embed words; ``labels`` are the classes that compete with them.

        Raises:
            ConfigurationError: for no words, or one given twice.
        """
        return cls(Query.of(teacher, words, negatives=labels, scale=_SOFT_SCALE), Query.of(teacher, words))

    @property
    def words(self) -> tuple[str, ...]:
        """What is looked for."""
        return self.against_classes.labels.names

    def heat(self, features: Tensor) -> Tensor:
        """Heat of every pixel.

        Args:
            features: (V, C, h, w) of all views of a scene, in the space of words; zeros where there is nothing.

        Returns:
            (V, W, h, w) in [0, 1]: 1 where in these views the word fits best, 0 where it fits no better than usual.
        """
        anything = self.against_anything.to(features.device).relevance(features, dim=-3)
        found = (anything > 0.5).any(dim=-1).any(dim=-1).any(dim=0)
        occupied = features.norm(dim=-3) > 0
        score = self.against_classes.to(features.device).share(features, dim=-3)
        rows = [self._stretched(score[:, word], occupied) for word in range(score.shape[1])]
        return torch.stack(rows, dim=1) * found[:, None, None]

    @staticmethod
    def _stretched(score: Tensor, occupied: Tensor) -> Tensor:
        """One word's scores (V, h, w) from the scene's usual one to its highest."""
        values = score[occupied]
        if len(values) == 0:
            return torch.zeros_like(score)
        ranked = values.sort().values
        high = ranked[round(_HIGH * (len(ranked) - 1))]
        low = torch.minimum(ranked[round(_MIDDLE * (len(ranked) - 1))], high / 2)  # the word may fill the view
        return ((score - low) / (high - low).clamp_min(1e-6)).clamp(0, 1) * occupied
