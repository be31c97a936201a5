"""Benchmark of novel views of any posed RGB-D scenes in the layout of `data_process`, real ones included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.data.scenes.dataset import WindowDataset
from common.data.scenes.scene_folder import RgbdScene, SceneIndex
from common.data.scenes.windows import ConsecutiveWindows
from common.errors import InputError
from common.evaluation.benchmark import BenchmarkBase, Row
from common.evaluation.columns import mean_row
from common.paths import user_path
from common.ranges import Count
from uni3r.evaluation.model_under_test import NOTES, LpipsChoice, ModelUnderTest, pooled_miou, write_confusion
from uni3r.evaluation.window_scorer import ProtocolSettings


@dataclass(frozen=True)
class FolderSettings:
    """``configs/benchmark/uni3r_folder.yaml``."""

    path: str
    """Folder of processed scenes."""
    name: str = "uni3r_folder"
    scenes: list[str] | None = None
    """Names of scenes; None for all."""
    context_views: Count = 2
    """The views between them are the targets."""
    stride: Count = 10
    """Frames from a context view to the target after it, and from that to the next context view."""
    windows: Count = 7
    """Windows of each scene, evenly spread, at most."""
    labels: bool = False
    """Score the scenes' labels, which must be the classes of the model's label set."""
    lpips: LpipsChoice = False
    """See `uni3r.evaluation.model_under_test.LpipsChoice`."""
    teacher_source: str | None = None
    """Weights of the model's teacher, where it needs any."""
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)

    def __post_init__(self) -> None:
        if self.context_views < 2:
            raise ValueError(f"context_views: expected at least 2, got {self.context_views}")


class FolderBenchmark(BenchmarkBase[FolderSettings, ModelUnderTest]):
    """A benchmark (`common.evaluation.benchmark.Benchmark`) of renderings."""

    name = "uni3r_folder"

    settings_class = FolderSettings
    without_effect = ("scenes", "path")

    def __init__(self, settings: FolderSettings, model: ModelUnderTest) -> None:
        super().__init__(settings, model)
        self._folder: Path | None = None

    @classmethod
    def find_model(cls, config: Mapping[str, Any], settings: FolderSettings) -> ModelUnderTest:
        """See `BenchmarkBase.find_model`."""
        return ModelUnderTest.from_config(config, settings.teacher_source, settings.lpips, settings.protocol)

    @property
    def notes(self) -> Sequence[str]:
        """Definitions of the figures, and the mIoU over all scenes where there are labels."""
        own = "a row is the mean over the windows of a scene; the network is told the intrinsics"
        return (*NOTES, own, *self.model.remarks, *pooled_miou(self._folder, self.model.labels))

    def scenes(self) -> list[str]:
        """Names of the folder's scenes, or of those asked for."""
        there = [scene.name for scene in SceneIndex(user_path(self.settings.path)).scenes]
        missing = [name for name in self.settings.scenes or [] if name not in there]
        if missing:
            raise InputError(f"{self.settings.path} has no scene {', '.join(missing)}; it has {', '.join(there)}")
        return self.settings.scenes or there

    def evaluate(self, scene: str, folder: Path) -> Row:
        """Build and score the windows of a scene."""
        self._folder = folder.parent
        data, length = self._windows(scene), 2 * self.settings.context_views - 1
        context, targets = range(0, length, 2), range(1, length, 2)
        query = self.model.query if self.settings.labels else None
        scores = [self.model.scorer.score(data[index], context, targets, query) for index in range(len(data))]
        write_confusion(folder, scores)
        return {"windows": len(scores), **mean_row([score.row for score in scores])}

    def _windows(self, scene: str) -> WindowDataset:
        def named(found: list[RgbdScene]) -> list[RgbdScene]:
            return [one for one in found if one.name == scene]

        settings = self.settings
        rule = ConsecutiveWindows(2 * settings.context_views - 1, settings.stride)
        data = WindowDataset(
            user_path(settings.path), rule, size=self.model.size, choose=named, crop="middle", labels=settings.labels
        )
        data.length = min(settings.windows, data.num_windows)
        return data
