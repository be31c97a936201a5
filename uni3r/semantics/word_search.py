"""Heat maps of the things in a scene that a word names, scaled for viewing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uni3r.semantics.labels import LabelSet
from uni3r.semantics.query import LOGIT_SCALE, Query
from uni3r.semantics.teacher import TextSide

_SOFT_SCALE = 2.0
"""Inverse temperature of the softmax with the classes. At the training value (14) the softmax saturates and uncertain
objects stay dark. Of 2, 5 and 14, this gives the best overlap of heat above 0.5 with the truth on eight held-out
rooms."""
_HIGH, _MIDDLE = 0.995, 0.5
"""Quantiles of a word's scores in the scene."""
KNOWN_LENGTH = 0.3
"""Length of a word's vector in the teacher's space below which the model does not know the word.

A label teacher keeps of a word what its classes say about it (`uni3r.semantics.label_teacher`), at most 1; other
teachers have unit vectors and know every word. The threshold was chosen for the vectors of `uni3r_tiny`: 19 words for
furniture and fittings have .33 or more, foreign and random ones .28 or less. Of the 59 words of
``tests/uni3r/semantics`` that no class list names, 32 of the 47 that are nearest to the right class stay lit and all 12
others go dark; of 61 further foreign, random and unrelated words one stays lit (car)."""


@dataclass(frozen=True)
class WordSearch:
    """Search for words against competing classes, embedded once.

    A score is the softmax of the word against the classes of a label set, without the class nearest to the word. Heat
    is the score relative to the rest of the scene, as LangSplat shows it (Qin et al. 2024, section 4). If LERF's
    relevance (Kerr et al. 2023, section 3.4) nowhere exceeds one half, the object is absent and the heat is zero. So is
    that of a word which the model does not know (`KNOWN_LENGTH`): a relative score would light up something anyway.
    """

    against_classes: Query
    against_anything: Query
    decisive: Query
    """The words against the same classes at the temperature of training: which Gaussians belong to a word."""

    @classmethod
    def of(cls, teacher: TextSide, words: Sequence[str], labels: LabelSet) -> WordSearch:
        """Embed words; ``labels`` are the classes that compete with them.

        Raises:
            ConfigurationError: there are no words, or one is given twice.
        """
        soft = Query.of(teacher, words, negatives=labels, scale=_SOFT_SCALE)
        return cls(soft, Query.of(teacher, words), replace(soft, scale=LOGIT_SCALE))

    @property
    def words(self) -> tuple[str, ...]:
        """Words of the search."""
        return self.against_classes.labels.names

    @property
    def known(self) -> Tensor:
        """(W,) bool: the words that the model knows."""
        return self.against_classes.text.norm(dim=-1) >= KNOWN_LENGTH

    @property
    def unknown_words(self) -> tuple[str, ...]:
        """The words that it does not know."""
        return tuple(word for word, known in zip(self.words, self.known.tolist(), strict=True) if not known)

    def heat(self, features: Tensor) -> Tensor:
        """Heat of every pixel.

        Args:
            features: (V, C, h, w) of all views of a scene, in the space of words; zeros where nothing was rendered.

        Returns:
            (V, W, h, w) in [0, 1]: 1 where the word fits best in these views, 0 where it fits no better than on
            average, and everywhere if the word is unknown or its object absent.
        """
        anything = self.against_anything.to(features.device).relevance(features, dim=-3)
        found = (anything > 0.5).any(dim=-1).any(dim=-1).any(dim=0)
        occupied = features.norm(dim=-3) > 0
        score = self.against_classes.to(features.device).share(features, dim=-3)
        rows = [self._stretched(score[:, word], occupied) for word in range(score.shape[1])]
        lit = found & self.known.to(found.device)
        return torch.stack(rows, dim=1) * lit[:, None, None]

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


def unknown_words_note(words: Sequence[str], labels: LabelSet) -> str:
    """A sentence for the user: which words the model does not know, and what it knows."""
    return (
        f"not known to this model and left dark: {', '.join(words)}. It knows {', '.join(labels.names)}, and English "
        "words close to these"
    )
