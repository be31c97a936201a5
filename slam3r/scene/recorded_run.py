"""A finished run read back from its folder: what was registered when, for replays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.export.trajectory import read_tum
from common.files import read_json
from slam3r.scene.outputs import PREDICTIONS, SUMMARY, TRAJECTORY
from slam3r.scene.predictions import METADATA

_ARRAYS = ("registered_pcds", "registered_confs", "input_imgs")


@dataclass
class RecordedRun:
    """Points by the frame that brought them, and the cameras."""

    points: NDArray[np.float32]
    """(P, 3) world."""
    colors: NDArray[np.uint8]
    """(P, 3) RGB."""
    frame: NDArray[np.int64]
    """(P,) position of the frame that brought the point, not decreasing."""
    images: NDArray[np.uint8]
    """(N, H, W, 3) RGB network images, on the disk."""
    camera_to_world: NDArray[np.float64]
    """(N, 4, 4) OpenCV axes; NaN where no pose was found."""
    intrinsics: NDArray[np.float64]
    """(3, 3) network pixels."""
    names: list[str]

    @property
    def posed(self) -> NDArray[np.float64]:
        """(M, 4, 4) the poses that are known; the world's own camera if there are none."""
        known = self.camera_to_world[np.isfinite(self.camera_to_world).all(axis=(1, 2))]
        return known if len(known) else np.eye(4)[None]


def read_run(folder: str | Path, confidence: float | None = None, max_points: int = 1_000_000) -> RecordedRun:
    """Read a run that was made with ``save_predictions=true``.

    Args:
        folder: of the results.
        confidence: points above it are taken; None for the run's own threshold.
        max_points: at most so many, a random choice.

    Raises:
        InputError: the folder does not hold such a run.
    """
    folder = Path(folder).expanduser()
    predictions = folder / PREDICTIONS
    if not (predictions / METADATA).is_file() or not (folder / SUMMARY).is_file():
        raise InputError(
            f"{folder} holds no run with predictions; make one with scripts/reconstruct.py ... save_predictions=true"
        )
    summary, metadata = read_json(folder / SUMMARY), read_json(predictions / METADATA)
    arrays = [np.load(predictions / f"{name}.npy", mmap_mode="r") for name in _ARRAYS]
    world, confidences, images = arrays
    threshold = summary["confidence_threshold"] if confidence is None else confidence
    share = min(1.0, max_points / max(1, sum(int((row > threshold).sum()) for row in confidences)))
    random = np.random.default_rng(0)
    points, colors, owner = [], [], []
    for index, (places, certain) in enumerate(zip(world, confidences, strict=True)):
        keep = (certain > threshold) & np.isfinite(places).all(axis=-1) & (places != 0).any(axis=-1)
        keep &= random.random(keep.shape) < share
        points.append(places[keep])
        colors.append(images[index][keep])
        owner.append(np.full(int(keep.sum()), index))
    if not sum(map(len, points)):
        raise InputError(f"{folder} has no point of a confidence above {threshold:g}; give a lower confidence")
    return RecordedRun(
        np.concatenate(points).astype(np.float32),
        np.concatenate(colors).astype(np.uint8),
        np.concatenate(owner),
        images,
        _poses(folder, summary, metadata["names"]),
        np.array(metadata["intrinsics"], np.float64),
        list(metadata["names"]),
    )


def _poses(folder: Path, summary: dict, names: list[str]) -> NDArray[np.float64]:
    """(N, 4, 4); the trajectory file leaves out frames without a pose."""
    lost = set(summary["frames_without_pose"])
    known = [index for index, name in enumerate(names) if name not in lost]
    trajectory = read_tum(folder / TRAJECTORY).camera_to_world
    if len(trajectory) != len(known):
        raise InputError(f"{folder / TRAJECTORY} has {len(trajectory)} poses, but the run has {len(known)}")
    poses = np.full((len(names), 4, 4), np.nan)
    poses[known] = trajectory
    return poses
