"""How a model is described: a file of ``configs/model`` for Uni3R."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelConfig:
    """A file of ``configs/model`` that describes a Uni3R."""

    name: str
    weights: str
    """Hub id, folder or file; a relative path is looked for here, then in the checkout."""
    sizes: dict[str, Any] = field(default_factory=dict)
    """Fields of `uni3r.models.config.Uni3RConfig`. Weights that are there must have them."""
    inference: dict[str, Any] = field(default_factory=dict)
    """How the model wants to be used: image size, teacher of words, labels, .. (read by what renders)."""
    start: str | None = None
    """What training begins with."""
    license: str = ""
    how_to_get: str = ""
    """Told when the weights are missing."""
