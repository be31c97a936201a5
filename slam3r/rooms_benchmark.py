"""Reconstruct procedural rooms that no training ever saw, and score them: runs anywhere, without a download."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.data.rooms import room_seed, room_video
from common.views import Views
from slam3r.evaluation import ReconstructionScore, retrieval_auc, score_scene
from slam3r.reconstruction import Networks, ReconstructionSettings, Reconstructor, RegisteredFrame


@dataclass(frozen=True)
class RoomsBenchmark:
    """Which rooms, and how they are filmed."""

    scenes: int = 8
    """Rooms."""
    first_scene: int = 1000
    """Number of the first room in the split; validation during training uses the numbers from 0."""
    frames: int = 40
    """Frames per room."""
    size: int = 224
    """Pixels a side."""
    split: str = "held_out"
    confidence_threshold: float = 1.0
    """Points strictly above it are scored."""
    retrieval_stride: int = 2
    """Every so many frames of a video enter the retrieval score."""

    def videos(self) -> Iterator[tuple[str, Views]]:
        """(name, video with truth) of every room."""
        for number in range(self.first_scene, self.first_scene + self.scenes):
            seed = room_seed(self.split, 0, number)
            yield f"room_{number}", room_video(seed, self.frames, self.size)


@dataclass
class RoomResult:
    """One room."""

    name: str
    score: ReconstructionScore
    retrieval_auc: float
    seconds: float
    """Of the reconstruction, without rendering and scoring."""
    stride: int

    def row(self) -> dict[str, float | str | int | None]:
        """For tables and JSON; metres. None where there is no answer: too few poses, or all views overlap."""
        points, constant = self.score.points, self.score.constant
        values: dict[str, float | str | int | None] = {
            "scene": self.name,
            "stride": self.stride,
            "accuracy": points.accuracy,
            "completeness": points.completeness,
            "constant_accuracy": constant.accuracy,
            "constant_completeness": constant.completeness,
            "accuracy_gain": self.score.accuracy_gain,
            "completeness_gain": self.score.completeness_gain,
            "f_10cm": points.f_score[0.10],
            "ate_rmse": self.score.trajectory_rmse,
            "poses": self.score.num_poses,
            "retrieval_auc": self.retrieval_auc,
            "frames_per_second": self.score.num_frames / self.seconds,
        }
        return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}


def reconstruct_views(
    views: Views, networks: Networks, settings: ReconstructionSettings, chunk: int = 10
) -> tuple[list[RegisteredFrame], Reconstructor]:
    """Push a video through a fresh reconstructor; all frames stay in memory."""
    reconstructor = Reconstructor(networks, settings)
    frames: list[RegisteredFrame] = []
    for start in range(0, len(views.images), chunk):
        frames += reconstructor.push(views.images[start : start + chunk])
    return frames + reconstructor.flush(), reconstructor


def run_room(
    name: str, views: Views, networks: Networks, settings: ReconstructionSettings, benchmark: RoomsBenchmark
) -> RoomResult:
    """Reconstruct one room and score points, poses and retrieval."""
    frames, reconstructor = reconstruct_views(views, networks, settings)
    assert reconstructor.stride is not None
    score = score_scene(
        np.stack([frame.world_points.numpy() for frame in frames]),
        np.stack([frame.world_confidence.numpy() for frame in frames]),
        [None if frame.camera_to_world is None else frame.camera_to_world.numpy() for frame in frames],
        views,
        benchmark.confidence_threshold,
    )
    return RoomResult(
        name,
        score,
        retrieval_auc(networks, views[:: benchmark.retrieval_stride]),
        sum(reconstructor.timer.seconds.values()),
        reconstructor.stride,
    )
