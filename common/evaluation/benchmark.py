"""Interface of benchmarks: named scenes, each of which yields a row of figures or fails with a reason.

A benchmark is a file of ``configs/benchmark`` whose ``_target_`` names a class of this shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from hydra.utils import get_object

from common.configuration import to_dataclass
from common.errors import ConfigurationError

Value = float | int | str | None
Row = dict[str, Value]
"""Figures of a scene by column (`common.evaluation.columns`); None where there is no answer."""

VARIANT = "@"
"""Stands between the name of a scene and a variant of the method, where a benchmark scores several on each scene."""
SCENE_FOLDER = "scenes"
"""Folder in the output that holds one folder per scene."""


class Benchmark(Protocol):
    """Scenes, and how each is scored."""

    name: str
    """As in ``configs/benchmark``; `configs/reference_results.yaml` knows it by this name."""
    notes: Sequence[str]
    """Definitions of the figures for the report, one sentence each."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Benchmark:
        """Build it from the whole configuration of the evaluation, as plain resolved mappings.

        It takes what it needs (``benchmark`` without ``_target_``, ``model``, ``device``, ...) through
        `common.configuration.to_dataclass`, so that every fault is one clear line.
        """

    def describe(self) -> Mapping[str, Any]:
        """All that the figures depend on, but not which scenes were asked for; JSON values. Loads the model.

        Results are kept by a later run (``resume``) only if it describes itself in the same way.
        """

    def scenes(self) -> Sequence[str]:
        """Names of the scenes to run, usable as folder names.

        Raises:
            InputError: the data are not there.
        """

    def evaluate(self, scene: str, folder: Path) -> Row:
        """Run and score one scene. Whatever it raises is noted as the reason of the scene's failure.

        Args:
            scene: one of `scenes`.
            folder: the scene's own, exists; pictures (``*.png``) that it finds there are shown in the report.
        """


class ModelOfBenchmark(Protocol):
    """The model that a benchmark scores."""

    def describe(self) -> Mapping[str, Any]:
        """Return weights, revisions and settings that figures depend on; JSON values."""


SettingsT = TypeVar("SettingsT")
ModelT = TypeVar("ModelT", bound=ModelOfBenchmark)
BenchmarkT = TypeVar("BenchmarkT", bound="BenchmarkBase")


class BenchmarkBase(ABC, Generic[SettingsT, ModelT]):
    """A `Benchmark` with a dataclass of settings (its file of ``configs/benchmark``) and a model under test."""

    settings_class: ClassVar[type]
    """Dataclass of the settings."""
    without_effect: ClassVar[tuple[str, ...]] = ()
    """Settings that no figure depends on, such as those that choose scenes: left out of `describe`."""

    def __init__(self, settings: SettingsT, model: ModelT) -> None:
        self.settings, self.model = settings, model

    @classmethod
    def from_config(cls: type[BenchmarkT], config: Mapping[str, Any]) -> BenchmarkT:
        """See `Benchmark.from_config`."""
        own = {key: value for key, value in config["benchmark"].items() if key != "_target_"}
        settings: Any = to_dataclass(own, cls.settings_class, "benchmark")
        return cls(settings, cls.find_model(config, settings))

    @classmethod
    @abstractmethod
    def find_model(cls, config: Mapping[str, Any], settings: SettingsT) -> ModelT:
        """Find the model under test in the whole configuration of the evaluation."""

    def describe(self) -> dict[str, Any]:
        """See `Benchmark.describe`."""
        own = asdict(self.settings)  # type: ignore[call-overload]
        kept = {name: value for name, value in own.items() if name not in self.without_effect}
        return {"benchmark": kept, **self.model.describe()}


def numbered_rooms(first: int, count: int) -> list[str]:
    """Names of procedural rooms as scenes of a benchmark, from the number of the first one."""
    return [f"room_{number}" for number in range(first, first + count)]


def room_number(scene: str) -> int:
    """Number of a room of `numbered_rooms`."""
    return int(scene.removeprefix("room_"))


def build_benchmark(config: Mapping[str, Any]) -> Benchmark:
    """The benchmark of a configuration.

    Raises:
        ConfigurationError: there is no such class, or a key does not fit.
    """
    target = config["benchmark"].get("_target_")
    try:
        chosen = get_object(target)
    except Exception as error:
        raise ConfigurationError(f"benchmark._target_: cannot import {target}: {error}") from error
    if not hasattr(chosen, "from_config"):
        raise ConfigurationError(f"benchmark._target_: {target} is not a benchmark, it has no from_config")
    return chosen.from_config(config)
