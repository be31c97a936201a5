"""Recorded reconstruction on disk, which can be scored repeatedly without another run."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from common.data.sources.frame_source import FrameSource
from common.errors import InputError
from common.evaluation.runner import digest
from common.files import atomic_path, read_json, write_json
from common.refinement.settings import Mode
from slam3r.api import reconstruct
from slam3r.evaluation.model_under_test import ModelUnderTest
from slam3r.scene.outputs import PREDICTIONS
from slam3r.scene.recording import open_pointmaps

logger = logging.getLogger(__name__)

_FACTS, _CAMERAS = "evaluation_run.json", "cameras.npz"


@dataclass(frozen=True)
class EvaluationRun:
    """Arrays and facts of a reconstruction that scores need."""

    points: NDArray[np.float32]
    """(n, h, w, 3) world pointmaps; memory-mapped."""
    confidence: NDArray[np.float32]
    """(n, h, w); memory-mapped."""
    valid: NDArray[np.bool_]
    """(n, h, w) the pixels that have a point; memory-mapped."""
    camera_to_world: NDArray[np.float64]
    """(n, 4, 4), OpenCV axes; NaN for frames without a pose."""
    stride: int
    frames_per_second: float
    """Frames per second of the whole run, reading included."""
    peak_memory: int
    """Bytes resident."""
    peak_gpu_memory: int
    """Bytes."""
    threshold: float = 0.0
    """Points of strictly higher confidence are those that the run exports."""
    refined: bool = False
    """Whether the run was refined: the confidence of a point is then the number of views that see it there."""
    focal: NDArray[np.float64] | None = None
    """(n,) focal length of each frame, pixels of the original picture."""
    seconds_refining: float = 0.0
    """Wall-clock seconds of the refinement."""

    @property
    def posed(self) -> NDArray[np.int64]:
        """(m,) frames that have a pose."""
        return np.flatnonzero(np.isfinite(self.camera_to_world).all(axis=(1, 2)))

    @property
    def mapped(self) -> NDArray[np.int64]:
        """(k,) frames that have a point."""
        return np.array([frame for frame, valid in enumerate(self.valid) if valid.any()], np.int64)


def run_for_evaluation(
    model: ModelUnderTest,
    source: FrameSource,
    size: tuple[int, int],
    folder: Path,
    key: Mapping[str, Any],
    mode: Mode | None = None,
    known: Mapping[str, Any] | None = None,
) -> EvaluationRun:
    """Reconstruct a source into a folder, or reuse a complete reconstruction with the same key.

    Args:
        model: model to run.
        source: source of the frames.
        size: (height, width) of the network images.
        folder: owned by this function; another reconstruction in it is replaced.
        key: everything that the result depends on; JSON values.
        mode: mode of the refinement; None takes that of the model's settings.
        known: what `slam3r.reconstruct` is told of the pictures: cameras, depths.

    Raises:
        InputError: the source cannot be reconstructed.
    """
    name = digest({**key, "size": list(size)})
    run = _load(folder) if _is_complete(folder, name) else None
    if run is None:
        shutil.rmtree(folder, ignore_errors=True)
        scene = reconstruct(
            source,
            model.networks,
            folder,
            settings=model.settings.reconstruction,
            export={"confidence": model.settings.model.confidence.registered, "strip": False, "max_points": 1_000_000},
            refinement=model.refinement(mode),
            save_predictions=True,
            size=size,
            **(known or {}),
        )
        if scene.interrupted:
            raise KeyboardInterrupt
        with atomic_path(folder / _CAMERAS) as temporary:
            np.savez(
                temporary, camera_to_world=scene.camera_to_world, focal=scene.intrinsics[:, [0, 1], [0, 1]].mean(1)
            )
        facts = {
            "key": name,
            "stride": scene.stride,
            "frames_per_second": scene.frames_per_second,
            "peak_memory": scene.peak_memory.process,
            "peak_gpu_memory": scene.peak_memory.device,
            "threshold": scene.threshold,
            "refined": scene.verdict.applied != "none",
            "verdict": asdict(scene.verdict),
            "seconds_refining": scene.seconds.get("refine", 0.0),
        }
        write_json(folder / _FACTS, facts)
        run = _load(folder)
    if run is None:
        raise InputError(f"{folder}: what was just recorded cannot be read back")
    return run


def _is_complete(folder: Path, key: str) -> bool:
    try:
        return read_json(folder / _FACTS)["key"] == key and (folder / PREDICTIONS).is_dir()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _load(folder: Path) -> EvaluationRun | None:
    """Read a recording; None where a part of it is damaged, which a line in the log names."""
    try:
        return _read(folder)
    except (InputError, OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, (KeyError, EOFError)) else str(error)
        logger.warning("%s is damaged (%s): the scene is reconstructed again", folder, reason)
        return None


def _read(folder: Path) -> EvaluationRun:
    facts = read_json(folder / _FACTS)
    with np.load(folder / _CAMERAS, allow_pickle=False) as cameras:
        poses, focal = cameras["camera_to_world"], cameras["focal"]
    recorded = open_pointmaps(folder / PREDICTIONS)
    count = len(recorded.points)
    if poses.shape != (count, 4, 4) or focal.shape != (count,):
        raise ValueError(f"{_CAMERAS} has cameras {list(poses.shape)} and {list(focal.shape)} for {count} frames")
    return EvaluationRun(
        recorded.points,
        recorded.confidence,
        recorded.valid,
        poses,
        facts["stride"],
        facts["frames_per_second"],
        facts["peak_memory"],
        facts["peak_gpu_memory"],
        facts["threshold"],
        facts["refined"],
        focal,
        facts["seconds_refining"],
    )
