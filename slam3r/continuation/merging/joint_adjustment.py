"""Cameras of two runs in one world adjusted together, by matches among all their pictures; points follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from common.data.sources.images import read_image
from common.refinement.cameras.gauge import Similarity, world_alignment
from common.refinement.cameras.refine_cameras import refine_cameras
from common.refinement.given import Given
from common.refinement.pictures import CameraNumbers, working_picture
from common.refinement.settings import CameraSettings
from common.refinement.types import Camera, Picture, Prediction, RefinedCameras
from slam3r.continuation.finished_run import RunFrame, scaled_camera
from slam3r.scene.scene_data import SceneTracks

_SIGMA = 0.01
"""Standard deviation of the positions before the adjustment, over the extent of their path."""
_CHUNK = 200_000
"""Points that are moved at once."""


@dataclass(frozen=True)
class AdjustedCameras:
    """Cameras of N pictures, adjusted so that their matches agree."""

    before: NDArray[np.float64]
    """(N, 4, 4) camera-to-world poses as they were."""
    after: NDArray[np.float64]
    """(N, 4, 4) adjusted poses; those of the first run as a whole stay where they were."""
    old_intrinsics: NDArray[np.float64]
    """(N, 3, 3) pixels of the pictures, as they were."""
    intrinsics: NDArray[np.float64]
    """(N, 3, 3) adjusted."""
    radial_distortion: NDArray[np.float64]
    """(N,) k1."""
    sizes: NDArray[np.int64]
    """(N, 2) height and width of the pictures."""
    tracks: SceneTracks
    """Points with the pixels where pictures of both runs see them; gray."""
    error_before: float
    """Median epipolar error of matches that were held back, working pixels."""
    error_after: float
    """The same matches, adjusted."""

    @property
    def moved(self) -> float:
        """Median distance of a position from where it was."""
        return float(np.median(np.linalg.norm(self.after[:, :3, 3] - self.before[:, :3, 3], axis=1)))

    def sentence(self) -> str:
        """One line for the user."""
        return (
            f"cameras adjusted together: median epipolar error {self.error_before:.2f} px before, "
            f"{self.error_after:.2f} px after, positions moved by {self.moved:.3g} (median)"
        )

    def move(self, points: NDArray[np.floating], frames: Sequence[int]) -> NDArray[np.float32]:
        """Points (P, 3) of one run after the adjustment: each follows the cameras of the run that have it in view, the
        nearer ones more.

        Args:
            points: in the world of `before`.
            frames: pictures of that run.
        """
        moved = [self._move(chunk, frames) for chunk in np.array_split(points, max(1, -(-len(points) // _CHUNK)))]
        return np.concatenate(moved).astype(np.float32)

    def _move(self, points: NDArray[np.floating], frames: Sequence[int]) -> NDArray[np.float64]:
        total, weights = np.zeros((len(points), 3)), np.zeros(len(points))
        for frame in frames:
            old, new = self.before[frame], self.after[frame]
            local = (points.astype(np.float64) - old[:3, 3]) @ old[:3, :3]
            depth = np.maximum(local[:, 2], 1e-9)
            lens = self.old_intrinsics[frame]
            pixels = local[:, :2] / depth[:, None] * _focals(lens) + lens[:2, 2]
            inside = (local[:, 2] > 0) & ((pixels > -0.5) & (pixels < self.sizes[frame, ::-1] - 0.5)).all(axis=1)
            local[:, :2] *= _focals(lens) / _focals(self.intrinsics[frame])
            weight = np.where(inside, 1 / depth, 0)
            total += weight[:, None] * (local @ new[:3, :3].T + new[:3, 3] - points)
            weights += weight
        return points + total / np.maximum(weights, 1e-12)[:, None]


def adjust_together(
    frames: Sequence[RunFrame],
    poses: NDArray[np.float64],
    of_first: int,
    settings: CameraSettings,
    progress: Callable[[str, float], None] | None = None,
) -> AdjustedCameras | None:
    """Adjust the cameras of two runs to the matches among all their pictures (bundle adjustment).

    Positions stay within about a hundredth of the path's extent, and pictures of one camera get one focal length.

    Args:
        frames: pictures of both runs, the first run's before the others.
        poses: (N, 4, 4) in one world.
        of_first: how many of them are the first run's, whose path as a whole stays.
        settings: of matching and adjustment.
        progress: told the stage and the share of it that is done.

    Returns:
        None where held-back matches do not agree better afterwards.
    """
    extent = float(np.ptp(poses[:, :3, 3], axis=0).max())
    if not extent > 0:
        return None
    pictures = _Pictures(frames, settings.long_side)
    given = Given(torch.from_numpy(poses), sigma=_SIGMA * extent)
    refined = refine_cameras(pictures, _as_prediction(frames, poses), settings, given=given, progress=progress)
    evidence = refined.evidence
    if not evidence.error_after < evidence.error_before:  # NaN where nothing was held back
        return None
    after = refined.placed.double().numpy()
    to_first = world_alignment(after[:of_first], poses[:of_first], np.full(of_first, np.nan))
    cameras = [refined.cameras[number] for number in pictures.cameras]
    in_pictures = [
        scaled_camera(camera.matrix.numpy(), camera.k1, camera.size, frame.size)
        for camera, frame in zip(cameras, frames, strict=True)
    ]
    return AdjustedCameras(
        before=poses,
        after=to_first.poses(after),
        old_intrinsics=np.array([frame.lens.matrix for frame in frames]),
        intrinsics=np.array([camera.matrix.numpy() for camera in in_pictures]),
        radial_distortion=np.array([camera.k1 for camera in in_pictures]),
        sizes=np.array([frame.size for frame in frames], np.int64),
        tracks=_tracks(refined, to_first, frames, cameras),
        error_before=evidence.error_before,
        error_after=evidence.error_after,
    )


class _Pictures(Sequence[Picture]):
    """The pictures, read when they are asked for; those of one camera share a number across the runs."""

    def __init__(self, frames: Sequence[RunFrame], long_side: int) -> None:
        self._frames, self._long_side = frames, long_side
        numbers = CameraNumbers()
        self.cameras = [numbers.of(frame.size, frame.file) for frame in frames]
        """Number of the camera of each picture."""

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]
        frame, same = self._frames[index], torch.eye(3, dtype=torch.float64)
        return working_picture(read_image(frame.file), same, self.cameras[index], frame.name, self._long_side)


def _as_prediction(frames: Sequence[RunFrame], poses: NDArray[np.float64]) -> Prediction:
    """Poses and lenses in the form of a network's prediction that knows no depth."""
    nothing = torch.zeros(len(frames), 2, 2)
    lenses = torch.from_numpy(np.array([frame.lens.matrix for frame in frames]))
    return Prediction(nothing, nothing > 0, nothing, torch.from_numpy(poses).float(), lenses)


def _tracks(
    refined: RefinedCameras, to_first: Similarity, frames: Sequence[RunFrame], cameras: Sequence[Camera]
) -> SceneTracks:
    """Tracks of the adjustment with their observations in pixels of the pictures."""
    tracks = refined.tracks
    frame = tracks.frame.numpy()
    scale = np.array([np.divide(one.size, camera.size)[::-1] for one, camera in zip(frames, cameras, strict=True)])
    xy = (tracks.xy.double().numpy() + 0.5) * scale[frame] - 0.5
    points = to_first.points(tracks.point.double().numpy())
    return SceneTracks(points, np.full((len(points), 3), 128, np.uint8), tracks.point_index.numpy(), frame, xy)


def colored(tracks: SceneTracks, points: NDArray[np.floating], colors: NDArray[np.uint8]) -> SceneTracks:
    """Tracks in the colours (P, 3) of the nearest points (P, 3) of a cloud."""
    if not len(tracks.points) or not len(points):
        return tracks
    _, nearest = cKDTree(points).query(tracks.points)
    return replace(tracks, colors=colors[nearest])


def _focals(intrinsics: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2,) focal lengths of intrinsics (3, 3)."""
    return intrinsics.diagonal()[:2]
