"""Benchmark of single windows: what Image-to-Points knows before registration, placement and refinement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from common.data.scenes.dataset import WindowDataset
from common.data.scenes.scene_folder import RgbdScene, SceneIndex
from common.data.scenes.windows import ConsecutiveWindows
from common.evaluation.benchmark import BenchmarkBase, Row, numbered_rooms, room_number
from common.geometry.cameras import unproject_depth
from common.geometry.poses import focal_weiszfeld
from common.metrics.aligned_depth import score_aligned_depth
from common.metrics.depth_shape import edge_score, surface_roughness
from common.paths import user_path
from common.ranges import Count, CountOrZero, Pixels
from common.rooms import room_seed, room_video
from common.views import Pointmaps, Views
from slam3r.evaluation.model_under_test import ModelUnderTest


@dataclass(frozen=True)
class WindowsSettings:
    """Choice of windows: ``configs/benchmark/windows.yaml``."""

    name: str = "windows"
    path: str | None = None
    """Folder of posed RGB-D scenes in the layout of `data_process`; None films procedural rooms."""
    scenes: Count = 8
    """Rooms, or at most so many scenes of the folder."""
    first_scene: CountOrZero = 1000
    """Number of the first room."""
    split: str = "held_out"
    windows: Count = 3
    """Windows of each scene, evenly spread."""
    stride: Count = 2
    """Frames from one view to the next."""
    neighbours: tuple[Count, ...] = (2, 4, 10)
    """Views beside the reference, half before and half after it; the largest number decides how long a window is."""
    size: Pixels = 224

    def __post_init__(self) -> None:
        if not self.neighbours or any(count % 2 for count in self.neighbours):
            raise ValueError(f"neighbours must be even numbers, got {list(self.neighbours)}")


class WindowsBenchmark(BenchmarkBase[WindowsSettings, ModelUnderTest]):
    """A benchmark (`common.evaluation.benchmark.Benchmark`) of the reference's pointmap in single windows."""

    name = "windows"
    notes: Sequence[str] = (
        "point error N: mean distance between the reference's points and the true ones, with N neighbours in the "
        "window, over their mean distance from the camera; after a scale by the median ratio of depths",
        "all else with as many neighbours as the window has",
        "confident half: mean depth error of the more confident half of the points over that of all; 1 orders nothing",
        "roughness: mean second difference of inverse depth inside true planes, relative (rooms alone); edges: F-score "
        "of depth steps of a tenth, within two pixels",
    )
    settings_class = WindowsSettings
    without_effect = ("scenes", "first_scene", "path")

    @classmethod
    def find_model(cls, config: Mapping[str, Any], settings: WindowsSettings) -> ModelUnderTest:
        """See `BenchmarkBase.find_model`."""
        return ModelUnderTest.from_config(config)

    def scenes(self) -> list[str]:
        """Names of the rooms, or of the folder's scenes."""
        settings = self.settings
        if settings.path is None:
            return numbered_rooms(settings.first_scene, settings.scenes)
        return [scene.name for scene in SceneIndex(user_path(settings.path)).scenes[: settings.scenes]]

    def evaluate(self, scene: str, folder: Path) -> Row:
        """Score the windows of a scene; the row holds their means."""
        rows = [self._score(window) for window in self._windows(scene)]
        return {"windows": len(rows), **{key: fmean(row[key] for row in rows) for key in rows[0]}}

    def _windows(self, scene: str) -> Iterable[Views]:
        settings = self.settings
        length = max(settings.neighbours) + 1
        span = (length - 1) * settings.stride + 1
        if settings.path is not None:

            def named(found: list[RgbdScene]) -> list[RgbdScene]:
                return [one for one in found if one.name == scene]

            rule = ConsecutiveWindows(length, settings.stride)
            data = WindowDataset(user_path(settings.path), rule, size=settings.size, choose=named, crop="middle")
            data.length = min(settings.windows, data.num_windows)
            return (data[index] for index in range(len(data)))
        last = max(span, 40) - span
        video = room_video(room_seed(settings.split, 0, room_number(scene)), last + span, settings.size)
        starts = [round(place) for place in torch.linspace(0, last, settings.windows).tolist()]
        return (video[start : start + span : settings.stride] for start in starts)

    def _score(self, views: Views) -> dict[str, float]:
        assert views.depth is not None and views.intrinsics is not None
        middle = len(views.images) // 2
        truth, intrinsics = views.depth[middle], views.intrinsics[middle]
        networks = self.model.networks
        tokens, grid = networks.encode(views.images, batch=4)
        row: dict[str, float] = {}
        for count in self.settings.neighbours:
            beside = [middle + offset for offset in range(-count // 2, count // 2 + 1) if offset]
            sources = networks.start_sources(tokens[beside], grid)
            found = networks.local_pointmaps(tokens[middle][None], sources, grid)
            predicted = Pointmaps(found.points[0].float().cpu(), found.confidence[0].float().cpu())
            row[f"point_error_{count}"] = _point_error(predicted.points, truth, intrinsics)
        depth, valid = predicted.points[..., 2], truth > 0
        row["depth_abs_rel_ls"] = score_aligned_depth(depth[None], truth[None]).abs_rel
        row["depth_abs_rel"] = score_aligned_depth(depth[None], truth[None], "median").abs_rel
        focal = float(focal_weiszfeld(predicted.points))
        row["focal_error_size"] = abs(focal / float(intrinsics[0, 0]) - 1)
        row["confident_half"] = _confident_half(depth[valid], truth[valid], predicted.confidence[valid])
        if self.settings.path is None:  # depth that sensors measured is rough itself
            row["roughness"] = surface_roughness(depth.clamp(min=1e-6), truth)
        row["edge_score"] = edge_score(depth, truth)
        return row


def _point_error(points: Tensor, depth: Tensor, intrinsics: Tensor) -> float:
    """Points (H, W, 3) against true depth (H, W) and intrinsics (3, 3)."""
    valid = depth > 0
    true, guess = unproject_depth(depth, intrinsics)[valid], points[valid]
    scale = (true[:, 2] / guess[:, 2]).median()
    return float((guess * scale - true).norm(dim=-1).mean() / true.norm(dim=-1).mean())


def _confident_half(depth: Tensor, truth: Tensor, confidence: Tensor) -> float:
    """(P,) each: relative error after a median scale, of the more confident half over that of all."""
    error = (depth * (truth / depth).median() / truth - 1).abs()
    return float(error[confidence >= confidence.median()].mean() / error.mean())
