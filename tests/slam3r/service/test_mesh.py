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
from slam3r.service.mesher import Mesh, Mesher
from slam3r.service.metrics import Metrics
from slam3r.service.results import depth_and_color
from slam3r.service.segments import write_mesh
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


@pytest.mark.slow
def test_a_killed_mesh_process_is_replaced_and_the_mesh_is_whole(tmp_path: Path) -> None:
    metrics, meshes, came = Metrics(), [], threading.Event()

    def skipped() -> float:
        return metrics.registry.get_sample_value("slam3r_mesh_frames_skipped_total") or 0.0

    def on_mesh(mesh: Mesh) -> None:
        meshes.append(mesh)
        came.set()

    given, slots = list(frames()), 4
    mesher = Mesher(replace(SETTINGS, slots=slots), (HEIGHT, WIDTH), metrics, on_mesh)
    try:
        for frame in given[:6]:
            mesher.add(*frame)
        assert came.wait(300), "no mesh came"
        first = mesher.process_id
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # it hangs: the inference path goes on, without waiting for a free slot
        for frame in given[6:]:
            mesher.add(*frame)
        assert skipped() >= len(given[6:]) - slots
        os.kill(first, signal.SIGKILL)
        final = mesher.finish()
    finally:
        mesher.close()
    assert metrics.registry.get_sample_value("slam3r_mesh_restarts_total") == 1
    assert final is not None and len(final.triangles) > 500
    assert final.colors.shape == final.vertices.shape
    np.testing.assert_allclose(final.vertices[:, 2], WALL, atol=0.02)
    assert final.vertices[:, 0].min() < -0.7, "the frames from before the kill are missing"
    write_mesh(final, tmp_path, np.stack([np.eye(4)] * 3))
    assert len(open3d.io.read_triangle_mesh(tmp_path / "mesh.ply").triangles) == len(final.triangles)
    assert (tmp_path / "mesh.glb").read_bytes()[:4] == b"glTF"
