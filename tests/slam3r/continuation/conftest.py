"""Two small refined runs of one procedural room, and one of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from slam3r.scene.scene import Scene
from tests.support.filmed_room import FilmedRoom, film
from tests.support.finished_runs import write_run

FIRST, SECOND, HELD = [0, 2, 4, 6, 8], [6, 8, 9, 10, 11], [3, 7]


@dataclass(frozen=True)
class Run:
    """A result folder, and what it should have been."""

    folder: Path
    room: FilmedRoom
    scene: Scene


@pytest.fixture(scope="session")
def room() -> FilmedRoom:
    torch.manual_seed(0)
    return film(7)


@pytest.fixture(scope="session")
def first(room: FilmedRoom, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(room.part(FIRST), tmp_path_factory.mktemp("first") / "out")


@pytest.fixture(scope="session")
def second(room: FilmedRoom, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(room.part(SECOND), tmp_path_factory.mktemp("second") / "later")


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(film(11, frames=4), tmp_path_factory.mktemp("elsewhere") / "out")


def make(room: FilmedRoom, folder: Path) -> Run:
    return Run(folder, room, write_run(room, folder))
