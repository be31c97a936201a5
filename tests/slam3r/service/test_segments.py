"""Closed worlds on disk: complete or absent, never overwritten, tried again, and finished by the next worker."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

pytest.importorskip("aio_pika", reason="needs the extra: service")

from common.export import result_folder
from common.export.ply import read_ply
from common.export.trajectory import read_tum
from common.refinement.settings import RefinementSettings
from slam3r.live.refining.segment_input import SegmentInput
from slam3r.live.refining.segment_refiner import SegmentRefiner
from slam3r.live.scene_map import SceneMap
from slam3r.service.mesh.files import TimedMesh
from slam3r.service.metrics import Metrics
from slam3r.service.segments.files import SegmentFolders, write_mesh
from slam3r.service.segments.refinements import RefinedSegment, SegmentRefinements
from slam3r.service.segments.saver import ClosedWorld, SegmentSaver
from slam3r.service.segments.trajectory import TrajectoryRecorder
from slam3r.service.settings import SegmentSettings
from slam3r.service.streams.events import WorldEnded, WorldPoints
from tests.support.filmed_room import film
from tests.support.full_disk import files_of_at_most
from tests.support.refined_scene import registered_frame
from tests.support.service_worker import until


def world(segment: str = "a", part: int = 0, mesh: Any = None) -> ClosedWorld:
    scene, trajectory = SceneMap(), TrajectoryRecorder()
    points = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    scene.add_points(points, np.full((50, 3), 100, np.uint8), np.full(50, 9.0, np.float32), 0)
    trajectory.add(1_500_000_000, np.eye(4))
    return ClosedWorld(WorldEnded("cam", segment, part, "segment", 1, WorldPoints.of(scene)), trajectory, mesh)


def save(folders: SegmentFolders, closed: ClosedWorld) -> Path:
    return folders.publish(folders.stage(closed.ended, closed.trajectory))


def visible(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*") if not path.parent.name.startswith("."))


def test_names_of_segments_are_harmless_folders_and_nothing_is_overwritten(tmp_path: Path) -> None:
    folders = SegmentFolders(tmp_path, "w")
    assert save(folders, world("../../etc/passwd")).resolve().is_relative_to(tmp_path)
    assert save(folders, world("a", 2)) == tmp_path / "cam" / "a.part2"
    # Two names that map to one folder, staged before either is published, as after a failure.
    staged = [folders.stage(closed.ended, closed.trajectory) for closed in (world("a/b"), world("a?b"), world("a_b"))]
    places = [folders.publish(folder) for folder in staged]
    assert [place.name for place in places] == ["a_b", "a_b.2", "a_b.3"]
    assert [json.loads((place / "segment.json").read_text())["segment"] for place in places] == ["a/b", "a?b", "a_b"]


def test_a_mesh_that_is_written_leaves_memory_at_once(tmp_path: Path) -> None:
    triangle = TimedMesh(0, np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8))
    write_mesh(triangle, tmp_path, np.eye(4)[None])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mesh.glb", "mesh.ply"]
    assert not [item for item in gc.get_objects() if type(item) in (trimesh.Trimesh, trimesh.Scene)]


class Told:
    """Keeps what a saver tells."""

    def __init__(self) -> None:
        self.saved: list[str | None] = []
        self.meshes: list[int] = []

    async def mesh(self, ended: WorldEnded, mesh: Any) -> None:
        self.meshes.append(len(mesh.triangles))

    async def attempt(self, ended: WorldEnded, folder: str, error: str | None) -> None:
        self.saved.append(error)

    async def refined(self, refined: RefinedSegment) -> None:
        raise AssertionError("nothing was refined")


def make_saver(tmp_path: Path, told: Told, refiner: SegmentRefiner | None = None, **settings: Any) -> SegmentSaver:
    chosen = SegmentSettings(save=True, folder=str(tmp_path), **{"retry_seconds": 0.05, **settings})
    folders = SegmentFolders(tmp_path, "w")
    refinements = SegmentRefinements(folders.staging, refiner, told.refined)
    return SegmentSaver(chosen, folders, Metrics(), told.mesh, told.attempt, refinements)


def test_a_full_disk_leaves_nothing_behind_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, attempts = result_folder.write_tum, []

    def full(*arguments: Any) -> None:
        attempts.append(visible(tmp_path) + list((tmp_path / ".staging-w").glob("*/segment.json")))
        if len(attempts) <= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(result_folder, "write_tum", full)

    async def scene() -> None:
        told = Told()
        saver = make_saver(tmp_path, told)
        await saver.submit(world())
        while len(told.saved) < 3:
            await asyncio.sleep(0.01)
        assert [error is None for error in told.saved] == [False, False, True]
        assert saver.last_error is None

    asyncio.run(scene())
    assert attempts == [[], [], []], "a folder was incomplete"
    folder = tmp_path / "cam" / "a"
    assert len(read_ply(folder / "points.ply").points) > 10
    assert read_tum(folder / "trajectory.txt").timestamps.tolist() == [1.5]
    assert json.loads((folder / "segment.json").read_text())["ended_by"] == "segment"


@pytest.mark.skipif(os.name == "nt", reason="RLIMIT_FSIZE")
def test_a_disk_with_room_for_a_segment_and_none_for_its_refinement(tmp_path: Path) -> None:
    """The segment is saved at the first attempt, once; the next worker finds nothing else to publish."""
    room = film(7, frames=2)
    held = SegmentInput(2, None)
    for index, picture in enumerate(room.pictures):
        held.keep(index, picture)
        held.add(registered_frame(room, index))

    async def scene() -> None:
        told = Told()
        closed = world()
        closed.ended = replace(closed.ended, refinement_input=held)
        refiner = SegmentRefiner(RefinementSettings())
        with files_of_at_most(100_000):
            saver = make_saver(tmp_path, told, refiner)
            await saver.submit(closed)
            await until(lambda: told.saved)
            assert told.saved == [None]
        saver.close()
        await make_saver(tmp_path, told).recover()
        assert visible(tmp_path) == ["cam/a"]
        assert not list((tmp_path / ".staging-w").iterdir())

    asyncio.run(scene())


def test_few_worlds_wait_in_memory_for_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_folder, "write_tum", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))

    async def scene() -> None:
        told = Told()
        saver = make_saver(tmp_path, told, max_unsaved=2)
        for number in range(6):
            await asyncio.wait_for(saver.submit(world(str(number))), 10)
        # In any order: every attempt puts a world behind the other.
        await until(lambda: {closed.ended.segment for closed in saver._in_memory} == {"4", "5"}, seconds=20)
        await asyncio.wait_for(saver.drain(10.0), 10)  # it does not wait for the disk to become free
        saver.close()

    asyncio.run(scene())


class PendingMesh:
    """A mesh that is never finished."""

    def __init__(self) -> None:
        self.result: Future[Path | None] = Future()

    def finish(self) -> Future[Path | None]:
        return self.result

    def discard(self) -> None:
        pass


def test_a_world_that_waits_for_its_mesh_is_on_disk_and_the_next_worker_publishes_it(tmp_path: Path) -> None:
    async def scene() -> None:
        told = Told()
        saver = make_saver(tmp_path, told)
        closed = world(mesh=PendingMesh())
        await saver.submit(closed)
        while closed.ended.points is not None:
            await asyncio.sleep(0.01)
        await saver.drain(0.1)
        saver.close()
        assert visible(tmp_path) == []
        successor = make_saver(tmp_path, told)
        await successor.recover()
        assert visible(tmp_path) == ["cam/a"]
        assert not list((tmp_path / ".staging-w").iterdir())

    asyncio.run(scene())
