"""Benchmark on held-out procedural rooms, which needs no download."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.data.sources.memory import ArraySource
from common.evaluation.benchmark import BenchmarkBase, Row, numbered_rooms, room_number
from common.evaluation.figures import write_error_map
from common.progress import ProgressReporter
from common.ranges import Count, CountOrZero, Pixels
from common.rooms import room_seed, room_video
from slam3r.evaluation.model_under_test import ModelUnderTest
from slam3r.evaluation.recorded_run import run_for_evaluation
from slam3r.evaluation.scene_score import ReconstructionScore, retrieval_auc, score_scene


@dataclass(frozen=True)
class RoomsSettings:
    """Choice of rooms, and the way they are filmed: ``configs/benchmark/rooms.yaml``."""

    name: str = "rooms"
    scenes: Count = 8
    """Rooms."""
    first_scene: CountOrZero = 1000
    """Number of the first room in the split; validation during training uses the numbers from 0."""
    frames: Count = 40
    """Frames per room."""
    size: Pixels = 224
    """Pixels a side."""
    split: str = "held_out"
    confidence_threshold: float | None = None
    """Points strictly above it are scored; None: those that the run exports. 0: all."""
    retrieval_stride: Count = 2
    """Every n-th frame of a video enters the retrieval score."""
    figures: bool = True
    """Draw error maps."""


class RoomsBenchmark(BenchmarkBase[RoomsSettings, ModelUnderTest]):
    """A benchmark (`common.evaluation.benchmark.Benchmark`) over procedural rooms."""

    name = "rooms"
    notes: Sequence[str] = (
        "constant: the best constant answer, every frame given the per-pixel mean of the true world pointmaps; gain: "
        "how many times nearer to the truth than that",
        "completeness is asked for all of the truth, also where the network was unsure",
        "retrieval AUC: ranking of pairs of views by whether they share at least 30 % of their pixels; 0.5 is chance",
        "frames/s: reconstruction alone, without rendering and scoring; memory: resident, peak",
    )

    settings_class = RoomsSettings
    without_effect = ("scenes", "first_scene", "figures")

    @classmethod
    def find_model(cls, config: Mapping[str, Any], settings: RoomsSettings) -> ModelUnderTest:
        """See `BenchmarkBase.find_model`."""
        return ModelUnderTest.from_config(config)

    def scenes(self) -> list[str]:
        """Names with the rooms' numbers."""
        return numbered_rooms(self.settings.first_scene, self.settings.scenes)

    def evaluate(self, scene: str, folder: Path) -> Row:
        """Render, reconstruct and score one room."""
        settings = self.settings
        seed = room_seed(settings.split, 0, room_number(scene))
        with ProgressReporter("film the room"):
            views = room_video(seed, settings.frames, settings.size)
        recording = folder / "reconstruction"
        run = run_for_evaluation(
            self.model, ArraySource(views.images), (settings.size, settings.size), recording, self.describe()
        )
        known = np.isfinite(run.camera_to_world).all(axis=(1, 2))
        with ProgressReporter("score"):
            score = score_scene(
                np.asarray(run.points),
                np.where(run.valid, run.confidence, -1),
                [pose if is_known else None for pose, is_known in zip(run.camera_to_world, np.asarray(known))],
                views,
                run.threshold if settings.confidence_threshold is None else settings.confidence_threshold,
            )
        shutil.rmtree(recording, ignore_errors=True)
        if settings.figures:
            assert views.camera_to_world is not None
            write_error_map(folder, score.aligned, score.points.to_truth, views.camera_to_world.numpy())
        row: Row = {"stride": run.stride, **_columns(score)}
        row["confident_share"] = float((run.confidence[run.mapped] > run.threshold).mean())
        assert views.intrinsics is not None and run.focal is not None
        row["focal_error"] = float(np.median(run.focal) / float(views.intrinsics[0, 0, 0]) - 1)
        row["retrieval_auc"] = retrieval_auc(self.model.networks, views[:: settings.retrieval_stride])
        row |= {"seconds_refining": run.seconds_refining} if run.refined else {}
        return row | {"frames_per_second": run.frames_per_second, "peak_memory": run.peak_memory}


def _columns(score: ReconstructionScore) -> Row:
    points, constant = score.points, score.constant
    return {
        "accuracy": points.accuracy,
        "completeness": points.completeness,
        "constant_accuracy": constant.accuracy,
        "constant_completeness": constant.completeness,
        "accuracy_gain": score.accuracy_gain,
        "completeness_gain": score.completeness_gain,
        "f_10cm": points.f_score[0.10],
        "ate_rmse": score.trajectory_rmse,
        "poses": score.num_poses,
    }
