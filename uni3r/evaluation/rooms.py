"""Benchmark of novel views of held-out procedural rooms, which needs no download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.evaluation.benchmark import BenchmarkBase, Row, numbered_rooms, room_number
from common.ranges import Count, CountOrZero
from common.rooms import room_seed, room_sequence
from uni3r.evaluation.model_under_test import NOTES, LpipsChoice, ModelUnderTest, pooled_miou, write_confusion
from uni3r.evaluation.window_scorer import ProtocolSettings


@dataclass(frozen=True)
class RoomsSettings:
    """Choice of rooms, and the way they are filmed: ``configs/benchmark/uni3r_rooms.yaml``."""

    name: str = "uni3r_rooms"
    scenes: Count = 16
    """Rooms."""
    first_scene: CountOrZero = 1000
    """Number of the first room in the split."""
    context_views: Count = 3
    """The views between them are the targets."""
    stride: Count = 1
    """Path frames from one view to the next: 5 to 15 cm and 3 to 7 degrees each."""
    split: str = "held_out"
    lpips: LpipsChoice = False
    """See `uni3r.evaluation.model_under_test.LpipsChoice`."""
    teacher_source: str | None = None
    """Weights of the model's teacher, where it needs any."""
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)

    def __post_init__(self) -> None:
        if self.context_views < 2 or self.stride < 1 or self.scenes < 1:
            raise ValueError("needs at least 2 context views, a stride and a scene of at least 1")


class RoomsBenchmark(BenchmarkBase[RoomsSettings, ModelUnderTest]):
    """A benchmark (`common.evaluation.benchmark.Benchmark`) of renderings."""

    name = "uni3r_rooms"

    settings_class = RoomsSettings
    without_effect = ("scenes", "first_scene")

    def __init__(self, settings: RoomsSettings, model: ModelUnderTest) -> None:
        super().__init__(settings, model)
        self._folder: Path | None = None

    @classmethod
    def find_model(cls, config: Mapping[str, Any], settings: RoomsSettings) -> ModelUnderTest:
        """See `BenchmarkBase.find_model`."""
        return ModelUnderTest.from_config(config, settings.teacher_source, settings.lpips, settings.protocol)

    @property
    def notes(self) -> Sequence[str]:
        """Definitions of the figures, and the mIoU over all scenes."""
        return (*NOTES, *self.model.remarks, *pooled_miou(self._folder, self.model.labels))

    def scenes(self) -> list[str]:
        """Names with the rooms' numbers."""
        return numbered_rooms(self.settings.first_scene, self.settings.scenes)

    def evaluate(self, scene: str, folder: Path) -> Row:
        """Film, build and score one room."""
        settings = self.settings
        self._folder = folder.parent
        count = 2 * settings.context_views - 1
        seed = room_seed(settings.split, 0, room_number(scene))
        views = room_sequence(seed, count, self.model.size, stride=settings.stride)
        score = self.model.scorer.score(views, range(0, count, 2), range(1, count, 2), self.model.query)
        write_confusion(folder, score)
        return score.row
