"""Objects from words: two chairs and a table of Gaussians become three boxes; what is unknown finds nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from common.geometry.boxes import Box, box_iou
from tests.support.gaussian_scene import gaussians_at, scene_of
from uni3r.evaluation.objects import ObjectsSettings, Piece, count_found
from uni3r.gaussians.files import load_ply
from uni3r.scene.object_files import write_objects
from uni3r.scene.objects import FoundObject, find_objects
from uni3r.scene.scene import Scene
from uni3r.semantics.labels import label_set_of_words
from uni3r.semantics.word_search import WordSearch

LABELS = label_set_of_words(["chair", "table", "wall"])
UP = np.array([0.0, -1.0, 0.0])
TRUTH = {
    "chair 0": Box(np.array([-0.8, 0.3, 2.0]), np.array([0.5, 0.5, 0.9]), np.array([[1, 0, 0], [0, 0, 1], UP])),
    "chair 1": Box(np.array([0.9, 0.3, 2.6]), np.array([0.5, 0.5, 0.9]), np.array([[1, 0, 0], [0, 0, 1], UP])),
    "table 0": Box(np.array([0.0, 0.4, 3.0]), np.array([0.8, 0.6, 0.7]), np.array([[1, 0, 0], [0, 0, 1], UP])),
}


class Words:
    """One axis a class; "plafond" is half a word."""

    width = 8

    def text(self, words, templates=()) -> Tensor:
        rows = [[word] if isinstance(word, str) else list(word) for word in words]
        vectors = torch.zeros(len(rows), self.width)
        for row, (word, *_) in zip(vectors, rows, strict=True):
            row[{"chair": 0, "seat": 0, "table": 1, "wall": 2, "plafond": 0}.get(word, 7)] = (
                0.2 if word == "plafond" else 1
            )
        return vectors


@pytest.fixture(scope="module")
def scene() -> Scene:
    """The furniture before a wall; three per cent of its Gaussians are taken for something else."""
    generator = torch.Generator().manual_seed(0)
    points, features = [], []
    for name, box in TRUTH.items():
        inside = torch.rand(500, 3, generator=generator).double() - 0.5
        points.append(torch.from_numpy(box.center) + (inside * torch.from_numpy(box.size)) @ torch.from_numpy(box.axes))
        features.append(torch.eye(8)[0 if "chair" in name else 1].expand(500, 8))
    wall = torch.rand(4000, 3, generator=generator).double() * torch.tensor([6, 3, 0.02]) + torch.tensor([-3, -1.5, 4])
    features.append(torch.eye(8)[2].expand(4000, 8))
    mixed = torch.cat(features)
    wrong = torch.rand(len(mixed), generator=generator) < 0.03
    mixed = torch.where(wrong[:, None], mixed.roll(2000, dims=0), mixed)
    return scene_of(gaussians_at(torch.cat([*points, wall]).float(), features=mixed))


def found_in(scene: Scene, *words: str) -> list[FoundObject]:
    return find_objects(scene, WordSearch.of(Words(), words, LABELS).decisive)


def test_each_piece_is_an_object_with_its_box(scene: Scene) -> None:
    found = found_in(scene, "seat", "table")
    assert [one.word for one in found] == ["seat", "seat", "table"]
    for name, truth in TRUTH.items():
        overlap = max(box_iou(one.box, truth) for one in found)
        assert overlap > 0.7, name
    assert all(0.9 < one.confidence <= 1 and len(one.members) > 450 for one in found)


def test_words_that_are_unknown_or_name_nothing_here_find_nothing(scene: Scene) -> None:
    assert found_in(scene, "plafond", "lamp") == []


def test_objects_as_files(scene: Scene, tmp_path: Path) -> None:
    found = found_in(scene, "chair", "plafond")
    write_objects(scene, found, ["plafond"], tmp_path / "objects.json", tmp_path / "objects")
    table = json.loads((tmp_path / "objects.json").read_text())
    assert table["unit"] == "that of the cameras given" and table["unknown_words"] == ["plafond"]
    assert [entry["file"] for entry in table["objects"]] == ["objects/chair_00.ply", "objects/chair_01.ply"]
    for entry, one in zip(table["objects"], found, strict=True):
        part = load_ply(tmp_path / entry["file"])
        assert part.count == entry["gaussians"] == len(one.members)
        inside = one.box.contains(part.means[0].numpy(), 0.1)
        assert inside.mean() > 0.95 and np.shape(entry["corners"]) == (8, 3)


def test_counts_of_the_benchmark(scene: Scene) -> None:
    """Each piece once; small pieces may be found, but need not."""
    chairs = [one for one in found_in(scene, "chair") for _ in range(2)]  # every box twice
    pieces = [Piece("chair", TRUTH["chair 0"], 0.2), Piece("chair", TRUTH["chair 1"], 0.001)]
    assert count_found(chairs, pieces, "chair", ObjectsSettings()) == [1, 1, 4, 2]
    assert count_found([], pieces, "chair", ObjectsSettings()) == [1, 0, 0, 0]
    assert count_found(chairs, [], "chair", ObjectsSettings()) == [0, 0, 4, 0]
