"""Novel views of ScanNet by the published protocol: 40 test scenes of 30 frames (LSM's split), 2 to 16 views in.

The folder is what ``python -m data_process.lsm_scannet_test`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.data.scenes.datasets.scannet import ScanNet
from common.errors import InputError
from common.evaluation.benchmark import VARIANT, BenchmarkBase, Row
from common.evaluation.columns import mean_row
from common.ranges import Count
from uni3r.evaluation.model_under_test import NOTES, LpipsChoice, ModelUnderTest, pooled_miou, write_confusion
from uni3r.evaluation.window_scorer import ProtocolSettings
from uni3r.training.windows import TestWindows


@dataclass(frozen=True)
class ScanNetSettings:
    """``configs/benchmark/uni3r_scannet.yaml``."""

    path: str
    """Folder of the processed test scenes."""
    name: str = "uni3r_scannet"
    context_views: Count | tuple[Count, ...] = 2
    """2, 8 or 16 as published; 4, 8 and 16 for the arbitrary-view release. With several, a row is a scene with a number
    of views, ``scene0686_01@4 views``."""
    scenes: list[str] | None = None
    """Names of scenes; None for all."""
    ignored: tuple[str, ...] = ("scene0696_02",)
    """Left out, as published."""
    lpips: LpipsChoice = True
    """See `uni3r.evaluation.model_under_test.LpipsChoice`."""
    teacher_source: str | None = None
    """LSeg's ``demo_e200.ckpt``."""
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)

    def __post_init__(self) -> None:
        if not self.view_counts or min(self.view_counts) < 2 or len(set(self.view_counts)) < len(self.view_counts):
            raise ValueError(f"context_views: expected different numbers of at least 2, got {self.context_views}")

    @property
    def view_counts(self) -> tuple[int, ...]:
        """Numbers of context views."""
        return (self.context_views,) if isinstance(self.context_views, int) else self.context_views


class ScanNetBenchmark(BenchmarkBase[ScanNetSettings, ModelUnderTest]):
    """A benchmark (`common.evaluation.benchmark.Benchmark`) of renderings."""

    name = "uni3r_scannet"

    settings_class = ScanNetSettings
    without_effect = ("scenes",)

    def __init__(self, settings: ScanNetSettings, model: ModelUnderTest) -> None:
        super().__init__(settings, model)
        self._folder: Path | None = None
        self._data = {count: self._windows(count) for count in settings.view_counts}

    def _windows(self, count: int) -> ScanNet:
        """Windows with a number of context views."""
        size, windows = self.model.size, TestWindows(count)
        return ScanNet(self.settings.path, split=None, windows=windows, size=size, enlarging="bicubic", labels=True)

    @classmethod
    def find_model(cls, config: Mapping[str, Any], settings: ScanNetSettings) -> ModelUnderTest:
        """See `BenchmarkBase.find_model`."""
        return ModelUnderTest.from_config(config, settings.teacher_source, settings.lpips, settings.protocol)

    @property
    def notes(self) -> Sequence[str]:
        """Definitions of the figures, and the mIoU over all scenes."""
        own = (
            "a row is the mean over the windows of a scene; with 2 context views two of every eight frames are targets"
        )
        return (*NOTES, own, *self.model.remarks, *pooled_miou(self._folder, self.model.labels))

    def scenes(self) -> list[str]:
        """Scenes with a window, once for each number of context views where there are several."""
        found = []
        for count, data in self._data.items():
            there = dict.fromkeys(_scene_of(data, index) for index in range(len(data)))
            wanted = self.settings.scenes or [name for name in there if name not in self.settings.ignored]
            missing = [name for name in wanted if name not in there]
            if missing:
                least = 3 if count == 2 else 2 * count - 1
                raise InputError(f"{self.settings.path} has no scene {', '.join(missing)} of at least {least} frames")
            found += [self._row_name(name, count) for name in wanted]
        return found

    def evaluate(self, scene: str, folder: Path) -> Row:
        """Build and score all windows of a scene."""
        self._folder = folder.parent
        name, _, variant = scene.partition(VARIANT)
        count = int(variant.split()[0]) if variant else self.settings.view_counts[0]
        data, scores = self._data[count], []
        for index in range(len(data)):
            if _scene_of(data, index) != name:
                continue
            views = data[index]
            targets = range(count, views.images.shape[0])
            scores.append(self.model.scorer.score(views, range(count), targets, self.model.query))
        write_confusion(folder, scores)
        return {"windows": len(scores), **mean_row([score.row for score in scores])}

    def _row_name(self, scene: str, count: int) -> str:
        return scene if isinstance(self.settings.context_views, int) else f"{scene}{VARIANT}{count} views"


def _scene_of(data: ScanNet, index: int) -> str:
    """Name of the scene of a window."""
    return data.describe(index).split("/", 1)[1].split(" ", 1)[0]
