"""Runner of benchmark scenes: finished ones are kept, failures are reported and do not end the run."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.configuration import changed_values
from common.errors import ConfigurationError
from common.evaluation.benchmark import SCENE_FOLDER, Benchmark, Row
from common.files import atomic_write, read_json, write_json
from common.progress import ProgressReporter

logger = logging.getLogger(__name__)

RESULT, ERROR = "result.json", "error.txt"
_LONGEST_REASON = 500


@dataclass(frozen=True)
class SceneResult:
    """Result of one scene."""

    scene: str
    row: Row | None
    """None where it failed."""
    reason: str | None
    """Reason of the failure."""
    seconds: float
    """Seconds of reconstruction and scoring."""
    description: dict[str, Any]
    """`Benchmark.describe` at that time."""


def run_benchmark(
    benchmark: Benchmark,
    output: Path,
    resume: bool = True,
    on_scene: Callable[[SceneResult, bool], None] | None = None,
) -> list[SceneResult]:
    """Run every scene that has no result yet.

    Every scene leaves ``scenes/<name>/result.json``; a failure leaves its traceback in ``error.txt`` beside it.

    Args:
        benchmark: the benchmark.
        output: folder of the results.
        resume: keep the results that are there; failed scenes are tried again. False runs all of them again.
        on_scene: called with every result, and whether it was kept from an earlier run.

    Returns:
        Results of the scenes asked for, in their order.

    Raises:
        ConfigurationError: results there were made with other settings.
        InputError: the data or the weights are missing.
    """
    description = _plain(benchmark.describe())
    scenes = list(benchmark.scenes())
    kept = {result.scene: result for result in read_results(output)} if resume else {}
    for result in kept.values():
        _check_same(result, description, output)
    results = []
    with ProgressReporter("evaluate", len(scenes), "scene") as progress:
        for scene in progress.over(scenes):
            progress.describe(f"evaluate {scene}")
            old = kept.get(scene)
            is_old = old is not None and old.row is not None
            result = old if old is not None and is_old else _run_scene(benchmark, scene, output, description)
            results.append(result)
            if on_scene is not None:
                on_scene(result, is_old)
    return results


def read_results(output: Path) -> list[SceneResult]:
    """All results in a folder, in the order of their scenes' names.

    Raises:
        ConfigurationError: a result file is damaged.
    """
    results = []
    for file in sorted((output / SCENE_FOLDER).glob(f"*/{RESULT}")):
        try:
            results.append(SceneResult(**read_json(file)))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(f"{file} is not a result of an evaluation ({error}); remove it") from None
    return results


def _run_scene(benchmark: Benchmark, scene: str, output: Path, description: dict[str, Any]) -> SceneResult:
    folder = output / SCENE_FOLDER / scene
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (folder / RESULT, folder / ERROR, *folder.glob("*.png")):
        stale.unlink(missing_ok=True)
    start, row, reason = time.perf_counter(), None, None
    try:
        row = _finite(benchmark.evaluate(scene, folder))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".strip()[:_LONGEST_REASON]
        with atomic_write(folder / ERROR, "w") as file:
            file.write(traceback.format_exc())
        logger.debug("%s failed: %s", scene, reason)  # the caller is told through `on_scene`
    result = SceneResult(scene, row, reason, round(time.perf_counter() - start, 3), description)
    write_json(folder / RESULT, asdict(result))
    return result


def _finite(row: Row) -> Row:
    """Replace NaN, which JSON lacks, by None."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def _plain(description: Mapping[str, Any]) -> dict[str, Any]:
    """Convert to the values that JSON reads back."""
    return json.loads(json.dumps(description, default=str))


def digest(description: Mapping[str, Any]) -> str:
    """Short hash of a description."""
    return hashlib.sha256(json.dumps(_plain(description), sort_keys=True).encode()).hexdigest()[:16]


def _check_same(result: SceneResult, description: dict[str, Any], output: Path) -> None:
    differing = changed_values(result.description, description)
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ConfigurationError(
            f"{output} holds the result of {result.scene} with other settings ({', '.join(differing[:3])}{more}); "
            "choose another output, or run all again with resume=false"
        )
