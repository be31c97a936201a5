"""Every frame's arrays on disk: written while a run goes on, and read back for replays and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from common.errors import InputError
from common.export.npy import NpyWriter, open_npy
from common.export.result_folder import SUMMARY, TRAJECTORY
from common.export.trajectory import read_tum
from common.files import read_json, write_json
from common.paths import user_path
from common.refinement.cameras.gauge import Similarity
from common.refinement.outcome import Refinement
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.scene.outputs import PREDICTIONS
from slam3r.scene.scene_data import SceneData

METADATA = "metadata.json"
REFINED = ("refined_pcds", "refined_confs", "refined_valid")
FILES = ("registered_pcds", "registered_confs", "registered_valid", "local_pcds", "local_confs", "input_imgs")


class PredictionRecorder:
    """A sink that appends frames to ``.npy`` files as they come; the files appear when it is closed.

    ========================  =================  =======  =====================================================
    file                      shape              type     content
    ========================  =================  =======  =====================================================
    ``registered_pcds.npy``   (n, H, W, 3)       float32  world pointmaps
    ``registered_confs.npy``  (n, H, W)          float32  their confidences
    ``registered_valid.npy``  (n, H, W)          bool     pixels that have a world point (not in the published layout)
    ``local_pcds.npy``        (n, H, W, 3)       float32  camera pointmaps, each of arbitrary scale; zeros for frames
                                                          of the initial window but its reference
    ``local_confs.npy``       (n, H, W)          float32  their confidences
    ``input_imgs.npy``        (n, H, W, 3)       uint8    network images, RGB
    ========================  =================  =======  =====================================================
    """

    def __init__(self, folder: str | Path) -> None:
        """
        Args:
            folder: created if needed.
        """
        self.folder = Path(folder)
        self._writers: dict[str, NpyWriter] = {}

    def add(self, frame: RegisteredFrame) -> None:
        """Append a frame. All frames have one size."""
        local = torch.zeros_like(frame.world_points) if frame.local_points is None else frame.local_points
        rows = {
            "registered_pcds": frame.world_points.float(),
            "registered_confs": frame.world_confidence.float(),
            "registered_valid": frame.valid,
            "local_pcds": local.float(),
            "local_confs": frame.local_confidence.float(),
            "input_imgs": frame.colors,
        }
        for name in FILES:
            row = rows[name].numpy()
            if name not in self._writers:
                self._writers[name] = NpyWriter(self.folder / f"{name}.npy", row.shape, row.dtype)
            self._writers[name].append(row[None])

    def close(self) -> None:
        """Move the files into place. Before the first frame there are none."""
        for writer in self._writers.values():
            writer.close()

    def move(self, similarity: Similarity) -> None:
        """Move the registered pointmaps, which were written as the network had them, into another world."""
        points = np.load(self.folder / "registered_pcds.npy", mmap_mode="r+", allow_pickle=False)
        valid = np.load(self.folder / "registered_valid.npy", mmap_mode="r", allow_pickle=False)
        for row, good in zip(points, valid):
            row[good] = similarity.points(row[good].astype(np.float64))
        points.flush()

    def write_refined(self, refinement: Refinement, scene: SceneData, frames: Sequence[int]) -> None:
        """Write the refined pointmaps beside the registered ones; writes nothing if they were not refined.

        ``refined_pcds.npy`` (n, H, W, 3) float32 world pointmaps, ``refined_confs.npy`` (n, H, W) float32 number of
        views that see the point there, ``refined_valid.npy`` (n, H, W) bool. The registered ones stay as they were.

        Args:
            refinement: of the run.
            scene: of the run.
            frames: index of each refined frame.
        """
        if refinement.cameras is None:
            return
        at = {index: position for position, index in enumerate(frames)}
        shape = *scene.network_size, 3
        writers = [
            NpyWriter(self.folder / f"{name}.npy", size, kind)
            for name, size, kind in zip(REFINED, (shape, shape[:2], shape[:2]), (np.float32, np.float32, np.bool_))
        ]
        for frame in scene.frames:
            points, confidence = np.full(shape, np.nan, np.float32), np.zeros(shape[:2], np.float32)
            if (position := at.get(frame.index)) is not None:
                points = refinement.world_points(position).numpy()
                confidence = refinement.confidence(position).numpy()
            valid = np.asarray(np.isfinite(points).all(axis=-1))
            points[~valid] = 0
            for writer, row in zip(writers, (points, confidence, valid)):
                writer.append(row[None])
        for writer in writers:
            writer.close()

    def write_metadata(self, scene: SceneData, name: str) -> None:
        """Write what the arrays do not hold, under the published names."""
        content = {
            "scene_id": name,
            "init_winsize": len(scene.initial_window),
            "kf_stride": scene.stride,
            "init_ref_id": scene.initial_reference,
            "names": [frame.name for frame in scene.frames],
            "intrinsics": np.asarray(scene.network_intrinsics).tolist(),
        }
        write_json(self.folder / METADATA, content)


@dataclass(frozen=True)
class RecordedPointmaps:
    """The world pointmaps of a run; memory-mapped."""

    points: NDArray[np.float32]
    """(n, H, W, 3) world."""
    confidence: NDArray[np.float32]
    """(n, H, W)."""
    valid: NDArray[np.bool_]
    """(n, H, W): the pixels that have a point."""


def open_pointmaps(predictions: Path) -> RecordedPointmaps:
    """Open the world pointmaps of a ``predictions`` folder, the refined ones where there are any.

    The published layout has no ``registered_valid.npy``: there, and only there, a point at (0, 0, 0) is none.

    Raises:
        InputError: an array is missing, damaged, or of another shape than its neighbours.
    """
    if all((predictions / f"{name}.npy").exists() for name in REFINED):
        return _checked(predictions, *(_open(predictions, name) for name in REFINED))
    points, confidence = (_open(predictions, name) for name in FILES[:2])
    if (predictions / "registered_valid.npy").exists():
        return _checked(predictions, points, confidence, _open(predictions, "registered_valid"))
    if points.shape != (*confidence.shape, 3):
        raise InputError(f"{predictions}: points {list(points.shape)} do not fit confidences {list(confidence.shape)}")
    valid = np.array([np.isfinite(frame).all(axis=-1) & (frame != 0).any(axis=-1) for frame in points])
    return RecordedPointmaps(points, confidence, valid.reshape(confidence.shape))


def _open(predictions: Path, name: str) -> NDArray:
    return open_npy(predictions / f"{name}.npy", 4 if name.endswith(("_pcds", "_imgs")) else 3)


def _checked(predictions: Path, points: NDArray, confidence: NDArray, valid: NDArray) -> RecordedPointmaps:
    if points.shape != (*confidence.shape, 3) or valid.shape != confidence.shape or valid.dtype != np.bool_:
        shapes = f"{list(points.shape)}, {list(confidence.shape)} and {list(valid.shape)}"
        raise InputError(f"{predictions}: points, confidences and valid pixels of {shapes} do not fit each other")
    return RecordedPointmaps(points, confidence, valid)


@dataclass
class RecordedRun:
    """A finished run: its points by the frame that added them, and its cameras."""

    points: NDArray[np.float32]
    """(P, 3) world."""
    colors: NDArray[np.uint8]
    """(P, 3) RGB."""
    frame: NDArray[np.int64]
    """(P,) position of the frame that added the point, not decreasing."""
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
        max_points: largest number of points, a random choice.

    Raises:
        InputError: the folder does not hold such a run.
    """
    folder = user_path(folder)
    predictions = folder / PREDICTIONS
    if not (predictions / METADATA).is_file() or not (folder / SUMMARY).is_file():
        raise InputError(
            f"{folder} holds no run with predictions; make one with slam3r reconstruct ... save_predictions=true"
        )
    summary, lost = _summary(folder / SUMMARY)
    names, intrinsics = _metadata(predictions / METADATA)
    recorded, images = open_pointmaps(predictions), _open(predictions, "input_imgs")
    if images.shape != recorded.points.shape or images.dtype != np.uint8 or len(images) != len(names):
        raise InputError(
            f"{predictions}: {len(names)} names, images {list(images.shape)} and points {list(recorded.points.shape)} "
            "do not fit each other"
        )
    threshold = summary if confidence is None else confidence
    share = min(1.0, max_points / max(1, sum(int((row > threshold).sum()) for row in recorded.confidence)))
    random = np.random.default_rng(0)
    points, colors, owner = [], [], []
    for index, (world, confident, valid) in enumerate(
        zip(recorded.points, recorded.confidence, recorded.valid, strict=True)
    ):
        keep = valid & (confident > threshold)
        keep &= random.random(keep.shape) < share
        points.append(world[keep])
        colors.append(images[index][keep])
        owner.append(np.full(int(keep.sum()), index))
    if not sum(map(len, points)):
        raise InputError(f"{folder} has no point of a confidence above {threshold:g}; give a lower confidence")
    return RecordedRun(
        np.concatenate(points).astype(np.float32),
        np.concatenate(colors).astype(np.uint8),
        np.concatenate(owner),
        images,
        _poses(folder / TRAJECTORY, lost, names),
        intrinsics,
        names,
    )


def _summary(path: Path) -> tuple[float, set[str]]:
    """The run's threshold, and the names of its frames without a pose."""
    try:
        content = read_json(path)
        return float(content["confidence_threshold"]), {str(name) for name in content["frames_without_pose"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the summary of a run ({_brief(error)})") from error


def _metadata(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Names of all frames, and the (3, 3) intrinsics."""
    try:
        content = read_json(path)
        intrinsics = np.array(content["intrinsics"], np.float64)
        if intrinsics.shape != (3, 3) or not np.isfinite(intrinsics).all():
            raise ValueError("its intrinsics are no 3 x 3 matrix")
        return [str(name) for name in content["names"]], intrinsics
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the description of predictions ({_brief(error)})") from error


def _brief(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]


def _poses(path: Path, lost: set[str], names: list[str]) -> NDArray[np.float64]:
    """(N, 4, 4); the trajectory file leaves out frames without a pose."""
    known = [index for index, name in enumerate(names) if name not in lost]
    try:
        trajectory = read_tum(path).camera_to_world
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if len(trajectory) != len(known):
        raise InputError(f"{path} has {len(trajectory)} poses, but the run has {len(known)}")
    poses = np.full((len(names), 4, 4), np.nan)
    poses[known] = trajectory
    return poses
