"""The mesh process: it makes a mesh of the room, and it may die."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import open3d
import pytest
import torch

pytest.importorskip("prometheus_client", reason="needs the extra: service")

from slam3r.reconstruction import RegisteredFrame
from slam3r.service.mesh.files import read_mesh_file
from slam3r.service.mesh.motion_gate import MotionGate
from slam3r.service.mesh.pool import MeshPool
from slam3r.service.mesh.process import slot_type
from slam3r.service.mesh.spool import Spool
from slam3r.service.metrics import Metrics
from slam3r.service.results.outgoing import depth_and_color
from slam3r.service.segments.files import write_mesh
from slam3r.service.settings import MeshSettings

SETTINGS = MeshSettings(
    voxel=0.05, truncation=0.2, translation=0.0, rotation_degrees=0.0, update_seconds=0.1, finish_timeout_seconds=300.0
)
HEIGHT, WIDTH, FOCAL, WALL = 48, 64, 60.0, 2.0


def registered(number: int) -> RegisteredFrame:
    """A camera that moves along a wall, which it looks at."""
    intrinsics = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    pose = np.eye(4)
    pose[0, 3] = number / 10
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(intrinsics).T
    world = torch.from_numpy(rays * WALL + pose[:3, 3]).float()
    ones = torch.ones(HEIGHT, WIDTH)
    return RegisteredFrame(
        index=number,
        name=str(number),
        timestamp=0.0,
        image=torch.zeros(3, HEIGHT, WIDTH),
        world_points=world,
        world_confidence=torch.where(torch.from_numpy(v) < 4, 0.0, 9.0),
        valid=torch.ones(HEIGHT, WIDTH, dtype=torch.bool),
        local_points=None,
        local_confidence=ones,
        mean_confidence=9.0,
        local_mean_confidence=9.0,
        keyframe=True,
        status="registered",
        camera_to_world=torch.from_numpy(pose),
        intrinsics=torch.from_numpy(intrinsics),
        pose_inliers=1.0,
    )


def frames(count: int = 12):
    for frame in map(registered, range(count)):
        seen = depth_and_color(frame, threshold=5.0)
        assert seen is not None and frame.camera_to_world is not None
        yield frame.index, *seen, frame.camera_to_world.numpy(), frame.intrinsics.numpy()


def test_depth_is_that_of_the_camera_where_it_is_confident() -> None:
    for _, depth, color, _, _ in frames(3):
        np.testing.assert_allclose(depth[4:], WALL, atol=1e-5)
        assert (depth[:4] == 0).all()
        assert color.shape == (HEIGHT, WIDTH, 3)


def test_frames_are_fused_as_often_as_the_camera_moves() -> None:
    gate, pose = MotionGate(0.1, 5.0, max_skipped=3), np.eye(4)
    assert [gate(pose) for _ in range(6)] == [True, False, False, False, True, False]
    pose[0, 3] = 0.2
    assert gate(pose)
    angle = np.radians(6)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert gate(pose)


def test_a_waiting_world_is_a_file_with_an_even_choice_of_its_keyframes(tmp_path: Path) -> None:
    record = slot_type(4, 6)
    spool = Spool(tmp_path / "world", record, limit=8)
    for number in range(100):
        keyframe = np.zeros((), record)
        keyframe["depth"] = number
        spool.add(number, keyframe)
    kept = spool.read()
    times = [timestamp for timestamp, _ in kept]
    assert 4 < len(times) <= 8 and len(set(np.diff(times))) == 1 and times[0] == 0 and times[-1] > 80
    assert [spool.load(place)["depth"][0, 0] for _, place in kept] == times
    assert (tmp_path / "world").stat().st_size <= 9 * record.itemsize
    spool.remove()
    assert not list(tmp_path.iterdir())


def counted(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"slam3r_{name}_total") or 0.0


@pytest.mark.slow
def test_a_killed_mesh_process_is_replaced_and_the_mesh_is_whole(tmp_path: Path) -> None:
    metrics, came = Metrics(), threading.Event()
    given, slots = list(frames()), 4
    pool = MeshPool(replace(SETTINGS, slots=slots), (HEIGHT, WIDTH), 1, tmp_path / "mesh", metrics)
    try:
        world = pool.open(lambda mesh: came.set())
        for frame in given[:6]:
            world.add(*frame)
        assert came.wait(300), "no mesh came"
        (first,) = pool.process_ids
        os.kill(first, signal.SIGSTOP)  # it hangs: the inference path goes on, without waiting for a free slot
        for frame in given[6:]:
            world.add(*frame)
        assert counted(metrics, "mesh_frames_skipped") >= len(given[6:]) - slots
        os.kill(first, signal.SIGKILL)
        file = world.finish().result(300)
        assert file is not None
        final = read_mesh_file(file)
        world.discard()
        assert not list((tmp_path / "mesh").iterdir()), "files of a finished world are left"
    finally:
        pool.close()
    assert counted(metrics, "mesh_restarts") == 1
    assert len(final.triangles) > 500
    assert final.colors.shape == final.vertices.shape
    np.testing.assert_allclose(final.vertices[:, 2], WALL, atol=0.02)
    assert final.vertices[:, 0].min() < -0.7, "the frames from before the kill are missing"
    write_mesh(final, tmp_path, np.stack([np.eye(4)] * 3))
    assert len(open3d.io.read_triangle_mesh(tmp_path / "mesh.ply").triangles) == len(final.triangles)
    assert (tmp_path / "mesh.glb").read_bytes()[:4] == b"glTF"


@pytest.mark.slow
def test_worlds_that_wait_for_a_mesh_are_files_and_not_processes(tmp_path: Path) -> None:
    pool = MeshPool(SETTINGS, (HEIGHT, WIDTH), 1, tmp_path, Metrics())
    try:
        worlds = []
        for _ in range(8):  # as short segments follow each other
            world = pool.open(lambda mesh: None)
            for frame in frames(4):
                world.add(*frame)
            worlds.append((world, world.finish()))
            assert len(pool.process_ids) == 1
        assert pool.num_waiting > 3, "the test is too slow to see worlds wait"
        (first,) = pool.process_ids
        files = [future.result(300) for _, future in worlds]
        assert all(file is not None and len(read_mesh_file(file).triangles) > 100 for file in files)
        assert pool.process_ids == [first], "one process made them all"
        for world, _ in worlds:
            world.discard()
        assert not list(tmp_path.iterdir())
    finally:
        pool.close()


@pytest.mark.slow
def test_the_line_for_meshes_is_bounded_and_a_mesh_process_that_hangs_is_replaced(tmp_path: Path) -> None:
    metrics = Metrics()
    settings = replace(SETTINGS, waiting_worlds=2, finish_timeout_seconds=20.0)
    pool = MeshPool(settings, (HEIGHT, WIDTH), 1, tmp_path, metrics)
    try:
        first = pool.open(lambda mesh: None)
        (hanging,) = pool.process_ids
        os.kill(hanging, signal.SIGSTOP)
        others = [pool.open(lambda mesh: None) for _ in range(3)]
        for world in (first, *others):
            for frame in frames(4):
                world.add(*frame)
        futures = [world.finish() for world in (first, *others)]
        assert futures[1].result(1) is None, "it waited for longest"
        assert counted(metrics, "mesh_given_up") == 1
        assert futures[0].result(60) is None, "its process hangs"
        others_files = [future.result(300) for future in futures[2:]]
        assert all(file is not None for file in others_files)
        assert hanging not in pool.process_ids
    finally:
        pool.close()
