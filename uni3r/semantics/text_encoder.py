"""Interface of text encoders, prompt templates, and groups of synonyms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import normalize

BARE_WORD = ("{}",)
"""The published prompt: the word itself (LSeg, Li et al. 2022; Uni3R)."""

Words: TypeAlias = Sequence[str | Sequence[str]]
"""Words or phrases of a query, each alone or as a group of synonyms."""


@runtime_checkable
class TextEncoder(Protocol):
    """Text embedding, such as `uni3r.semantics.clip_text.ClipTextEncoder`."""

    @property
    def width(self) -> int:
        """C, channels of a vector."""

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """(P, C) float32 unit vectors of P prompts."""


def embed_words(encoder: TextEncoder, words: Words, templates: Sequence[str] = BARE_WORD) -> Tensor:
    """One unit vector per word or group: the mean direction of its prompts (prompt ensembling, Radford et al. 2021).

    Args:
        encoder: embeds the prompts.
        words: such as ``["bed", ["sofa", "couch"]]``.
        templates: each with one ``{}`` where the word goes, e.g. ``"a photo of a {}"``.

    Returns:
        (W, C) unit vectors.

    Raises:
        ValueError: there are no words, an empty word, or a template without its ``{}``.
    """
    groups = [[group] if isinstance(group, str) else list(group) for group in words]
    _check(groups, templates)
    prompts = [[template.replace("{}", word.strip()) for word in group for template in templates] for group in groups]
    vectors = encoder([prompt for group in prompts for prompt in group])
    means = [part.mean(dim=0) for part in vectors.split([len(group) for group in prompts])]
    return normalize(torch.stack(means), dim=-1)


def _check(groups: Sequence[Sequence[str]], templates: Sequence[str]) -> None:
    if not groups or not all(groups):
        raise ValueError("a text query needs at least one word")
    for word in (word for group in groups for word in group):
        if not isinstance(word, str) or not word.strip():
            raise ValueError(f"a text query takes words, got {word!r}")
    for template in templates or ("",):
        if template.count("{}") != 1:
            raise ValueError(f"prompt template {template!r}: expected one '{{}}' where the word goes")
