"""Interface of benchmarks: named scenes, each of which yields a row of figures or fails with a reason.

A benchmark is a file of ``configs/benchmark`` whose ``_target_`` names a class of this shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from hydra.utils import get_object

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
