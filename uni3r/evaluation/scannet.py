"""Novel views of ScanNet by the published protocol: 40 test scenes of 30 frames (LSM's split), 2, 8 or 16 views in.

The folder is what ``python -m data_process.lsm_scannet_test`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.data.scenes.datasets.scannet import ScanNet
from common.errors import InputError
from common.evaluation.benchmark import BenchmarkBase, Row
from common.evaluation.columns import mean_row
from uni3r.evaluation.model_under_test import NOTES, LpipsChoice, ModelUnderTest, pooled_miou, write_confusion
from uni3r.evaluation.window_scorer import ProtocolSettings
from uni3r.training.windows import TestWindows


@dataclass(frozen=True)
class ScanNetSettings:
    """``configs/benchmark/uni3r_scannet.yaml``."""

    path: str
    """Folder of the processed test scenes."""
    name: str = "uni3r_scannet"
    context_views: int = 2
    """2, 8 or 16 as published."""
    scenes: list[str] | None = None
    """Names of scenes; None for all."""
    ignored: tuple[str, ...] = ("scene0696_02",)
    """Left out, as published."""
    lpips: LpipsChoice = True
    """See `uni3r.evaluation.model_under_test.LpipsChoice`."""
    teacher_source: str | None = None
    """LSeg's ``demo_e200.ckpt``."""
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)


class ScanNetBenchmark(BenchmarkBase[ScanNetSettings, ModelUnderTest]):
    """A benchmark (`common.evaluation.benchmark.Benchmark`) of renderings."""

    name = "uni3r_scannet"

    settings_class = ScanNetSettings
    without_effect = ("scenes",)

    def __init__(self, settings: ScanNetSettings, model: ModelUnderTest) -> None:
        super().__init__(settings, model)
        self._folder: Path | None = None
        self._data = ScanNet(
            settings.path,
            split=None,
            windows=TestWindows(settings.context_views),
            size=model.size,
            enlarging="bicubic",
            labels=True,
        )

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
        """Scenes with a window."""
        there = dict.fromkeys(self._scene_of(index) for index in range(len(self._data)))
        wanted = self.settings.scenes or [name for name in there if name not in self.settings.ignored]
        missing = [name for name in wanted if name not in there]
        if missing:
            raise InputError(f"{self.settings.path} has no scene {', '.join(missing)} of at least three frames")
        return list(wanted)

    def evaluate(self, scene: str, folder: Path) -> Row:
        """Build and score all windows of a scene."""
        self._folder = folder.parent
        count = self.settings.context_views
        scores = []
        for index in range(len(self._data)):
            if self._scene_of(index) != scene:
                continue
            views = self._data[index]
            targets = range(count, views.images.shape[0])
            scores.append(self.model.scorer.score(views, range(count), targets, self.model.query))
        write_confusion(folder, scores)
        return {"windows": len(scores), **mean_row([score.row for score in scores])}

    def _scene_of(self, index: int) -> str:
        """Name of the scene of a window."""
        return self._data.describe(index).split("/", 1)[1].split(" ", 1)[0]
