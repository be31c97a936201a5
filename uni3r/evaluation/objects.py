"""Benchmark of objects from words: boxes against the furniture of held-out procedural rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigurationError
from common.evaluation.benchmark import BenchmarkBase, Row, numbered_rooms, room_number
from common.files import read_json, write_json
from common.geometry.boxes import Box, box_iou
from common.geometry.cameras import unproject_to_world
from common.geometry.up_axis import find_up
from common.ranges import Count, CountOrZero, Share
from common.rooms import LABEL_NAMES, room_seed, room_sequence
from common.rooms.layout import build_room
from common.rooms.objects import FURNITURE, furniture_pieces
from common.views import Views
from uni3r.evaluation.model_under_test import ModelUnderTest
from uni3r.evaluation.window_scorer import ProtocolSettings
from uni3r.scene.objects import FoundObject, cluster_objects
from uni3r.scene.settings import ObjectSettings
from uni3r.semantics.query import Query

_COUNTS = "objects.json"
_MARGIN = 0.02
"""Metres by which true points may lie outside of the box of their piece."""


@dataclass(frozen=True)
class ObjectsSettings:
    """Choice of rooms, the way they are filmed, and what counts as found: ``configs/benchmark/uni3r_objects.yaml``."""

    name: str = "uni3r_objects"
    scenes: Count = 16
    """Rooms."""
    first_scene: CountOrZero = 1000
    """Number of the first room in the split."""
    context_views: Count = 4
    stride: Count = 2
    """Path frames from one view to the next: 5 to 15 cm and 3 to 7 degrees each."""
    split: str = "held_out"
    min_iou: Share = 0.25
    """Overlap of a box with a piece of furniture from which on it is found."""
    min_visible: Share = 0.01
    """Share of all pixels that a piece covers at least, to be expected. Smaller ones may be found, but need not."""
    teacher_source: str | None = None
    """Weights of the model's teacher, where it needs any."""
    objects: ObjectSettings = field(default_factory=ObjectSettings)
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)

    def __post_init__(self) -> None:
        if self.context_views < 2 or self.stride < 1 or self.scenes < 1 or not 0 < self.min_iou <= 1:
            raise ValueError("needs at least 2 context views, a stride and a scene of at least 1, and an IoU up to 1")


@dataclass(frozen=True)
class Piece:
    """A true piece of furniture."""

    word: str
    box: Box
    visible: float
    """Share of all pixels of the views."""


class ObjectsBenchmark(BenchmarkBase[ObjectsSettings, ModelUnderTest]):
    """A benchmark (`common.evaluation.benchmark.Benchmark`) of boxes."""

    name = "uni3r_objects"

    settings_class = ObjectsSettings
    without_effect = ("scenes", "first_scene")

    def __init__(self, settings: ObjectsSettings, model: ModelUnderTest) -> None:
        super().__init__(settings, model)
        self._folder: Path | None = None
        self._words = [LABEL_NAMES[label] for label in FURNITURE]
        if model.scorer.teacher is None or model.labels.names != LABEL_NAMES:
            raise ConfigurationError("uni3r_objects: needs a model that learnt words for the classes of the rooms")
        self._query = Query.of(model.scorer.teacher, self._words, negatives=model.labels)

    @classmethod
    def find_model(cls, config: Mapping[str, Any], settings: ObjectsSettings) -> ModelUnderTest:
        """See `BenchmarkBase.find_model`."""
        return ModelUnderTest.from_config(config, settings.teacher_source, False, settings.protocol)

    @property
    def notes(self) -> Sequence[str]:
        """Definitions, and recall and precision of each word over all rooms."""
        settings = self.settings
        return (
            f"found: a box whose overlap (IoU) with the whole true box of a piece of that word is at least "
            f"{settings.min_iou:g}, each piece once, the most confident box first; expected are pieces on at least "
            f"{settings.min_visible:.0%} of all pixels",
            "words: chair, table, sofa, bed; to the model, cabinets, shelves, lamps and all else are one class",
            *pooled_counts(self._folder),
        )

    def scenes(self) -> list[str]:
        """Names with the rooms' numbers."""
        return numbered_rooms(self.settings.first_scene, self.settings.scenes)

    def evaluate(self, scene: str, folder: Path) -> Row:
        """Film a room, find its objects, and compare them with its furniture."""
        settings, scorer = self.settings, self.model.scorer
        self._folder = folder.parent
        seed = room_seed(settings.split, 0, room_number(scene))
        views = room_sequence(seed, settings.context_views, self.model.size, stride=settings.stride)
        gaussians, poses, unit = scorer.gaussians(views, range(settings.context_views))
        assert gaussians.features is not None, "the model's Gaussians have no features"
        compressor = scorer.network.feature_compressor
        features = gaussians.features[0]
        features = features if compressor is None else compressor.expand_vectors(features)
        ahead = gaussians.means[0, :, 2]
        depth = float(ahead[ahead > 0].median())
        up = find_up(poses.cpu().double().numpy())
        found = cluster_objects(gaussians, features.detach(), self._query, up, depth, settings.objects)
        pieces = true_pieces(seed, views, unit)
        counts = {word: count_found(found, pieces, word, settings) for word in self._words}
        write_json(folder / _COUNTS, counts)
        total = [sum(each[index] for each in counts.values()) for index in range(4)]
        return _figures(total)


def true_pieces(seed: int, views: Views, unit: float) -> list[Piece]:
    """Furniture of a room in the frame of view 0 and a unit (metres), with its share of the pixels of the views."""
    assert views.camera_to_world is not None and views.depth is not None and views.labels is not None
    assert views.intrinsics is not None
    world = unproject_to_world(views.depth, views.intrinsics, views.camera_to_world).reshape(-1, 3).double().numpy()
    labels = views.labels.reshape(-1).numpy()
    from_room = np.linalg.inv(views.camera_to_world[0].double().numpy())
    pieces = []
    for piece in furniture_pieces(build_room(seed)):
        own = piece.box.contains(world, _MARGIN) & (labels == piece.label)
        pieces.append(Piece(LABEL_NAMES[piece.label], _moved(piece.box, from_room, unit), float(own.mean())))
    return pieces


def count_found(
    found: Sequence[FoundObject], pieces: Sequence[Piece], word: str, settings: ObjectsSettings
) -> list[int]:
    """Numbers of a word: pieces expected, those of them found, boxes, and boxes that are right."""
    own = [piece for piece in pieces if piece.word == word and piece.visible > 0]
    boxes = sorted((one for one in found if one.word == word), key=lambda one: -one.confidence)
    free = list(range(len(own)))
    right: list[Piece] = []
    for one in boxes:
        overlaps = {index: box_iou(one.box, own[index].box) for index in free}
        best = max(overlaps, key=lambda index: overlaps[index], default=None)
        if best is not None and overlaps[best] >= settings.min_iou:
            free.remove(best)
            right.append(own[best])

    def expected(some: Sequence[Piece]) -> int:
        return sum(piece.visible >= settings.min_visible for piece in some)

    return [expected(own), expected(right), len(boxes), len(right)]


def pooled_counts(scenes: Path | None) -> list[str]:
    """Recall and precision of each word, and of all, over all scenes in a folder; none where there are no counts."""
    files = [] if scenes is None else sorted(scenes.glob(f"*/{_COUNTS}"))
    if not files:
        return []
    content = [read_json(file) for file in files]
    rows = {word: np.sum([each[word] for each in content], axis=0).tolist() for word in content[0]}
    rows["all words"] = np.sum(list(rows.values()), axis=0).tolist()
    said = [f"{word} recall {c[1]} of {c[0]}, precision {c[3]} of {c[2]}" for word, c in rows.items()]
    return [f"over {len(files)} rooms: {'; '.join(said)}"]


def _figures(counts: Sequence[int]) -> Row:
    expected, recalled, boxes, right = counts
    return {
        "objects_expected": expected,
        "objects_found": boxes,
        "object_recall": recalled / expected if expected else None,
        "object_precision": right / boxes if boxes else None,
    }


def _moved(box: Box, transform: NDArray[np.float64], unit: float) -> Box:
    """A box after a rigid transform (4, 4) in metres, in another unit."""
    rotation = transform[:3, :3]
    return Box((rotation @ box.center + transform[:3, 3]) / unit, box.size / unit, box.axes @ rotation.T)
