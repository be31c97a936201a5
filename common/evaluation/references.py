"""Published results, printed beside ours (``configs/reference_results.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from common.configuration import config_folder, to_dataclass


@dataclass(frozen=True)
class Reference:
    """One published line of a table."""

    method: str
    source: str
    """Paper and table."""
    read_from: str
    """``paper`` or ``secondary``: whether the figures were read in another paper's copy of the table."""
    mean: dict[str, float]
    """By column, stored units (metres, shares)."""
    scenes: dict[str, dict[str, float]] = field(default_factory=dict)
    """By scene, then by column."""
    note: str = ""
    """Differences of its protocol."""

    def __post_init__(self) -> None:
        if self.read_from not in ("paper", "secondary"):
            raise ValueError(f"read_from must be paper or secondary, not {self.read_from!r}")


def read_references(benchmark: str, file: Path | None = None) -> list[Reference]:
    """Published lines of a benchmark; none where the file knows none.

    Raises:
        ConfigurationError: an entry does not fit.
    """
    content = OmegaConf.load(file or config_folder() / "reference_results.yaml")
    entries = OmegaConf.to_container(content).get(benchmark, [])  # type: ignore[union-attr]
    return to_dataclass(entries, list[Reference])
