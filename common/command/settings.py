"""Settings of the commands that serve both systems. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from common.app.settings import Limits, ServerSettings
from common.command.registry import register
from common.configuration import GivenText
from common.ranges import Threads
from common.refinement.settings import RefinementSettings
from common.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """``configs/evaluate.yaml``."""

    benchmark: dict[str, Any] = field(metadata={"group": "benchmark"})
    """Benchmark; the settings of each are in its file of ``configs/benchmark``."""
    model: dict[str, Any] = field(metadata={"group": "model"})
    """Model to score."""
    reconstruction: dict[str, Any] | None = field(default=None, metadata={"group": "reconstruction"})
    """Settings of the reconstruction (SLAM3R)."""
    refinement: RefinementSettings = field(metadata={"group": "refinement"})
    """Whether views are made consistent afterwards (SLAM3R); default: as the model asks."""
    output: GivenText
    """Folder for metrics.json, report.md, and scenes/<name> with a result.json and pictures."""
    resume: bool = True
    """Keep finished scenes; they must have been made with the same settings and weights."""
    compare: tuple[str, str] | None = None
    """[first run, second run]: compare these instead of running anything."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""
    device: str = "auto"
    """auto, cuda, mps or cpu."""
    dtype: str = "auto"
    """Type of the matrix products: auto, float32 or bfloat16."""


@dataclass(frozen=True, kw_only=True)
class AppCommand:
    """``configs/app.yaml``."""

    systems: tuple[dict[str, Any], ...] = ()
    """Systems to choose from, the first one at the beginning (`common.app.contract.System`)."""
    server: ServerSettings = field(default_factory=ServerSettings)
    """Address and port to listen on."""
    limits: Limits = field(default_factory=Limits)
    """Limits of visitors' uploads."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""


@dataclass(frozen=True, kw_only=True)
class TrainCommand(TrainSettings):
    """The scalars of ``configs/train.yaml``; data, objective, callbacks and trainer are built from the rest."""

    experiment: str = field(metadata={"group": "experiment"})
    """Recipe."""
    trainer: dict[str, Any] = field(metadata={"group": "trainer"})
    """Hardware."""
    model: dict[str, Any] = field(metadata={"group": "model"})
    """Sizes of the networks."""
    debug: bool = False
    """Two steps on procedural data with a miniature network: shows that a recipe runs."""


def register_settings() -> None:
    """Make the defaults of these commands known to Hydra."""
    register("refinement", RefinementSettings)
    register("evaluate", EvaluateCommand)
    register("app", AppCommand)
    register("train", TrainCommand)
