"""Aria Synthetic Environments: fisheye frames of a known room become upright pinhole frames of that room."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from data_process import aria
from data_process.formats.fisheye624 import ASE_RGB_704
from data_process.formats.rectify import turn_camera_clockwise, turn_clockwise
from data_process.writing.manifest import DatasetInfo
from data_process.writing.runner import process
from tests.support import box_room
from tests.support.raw_trees import jpeg, png, write

SIDE = 704
HEADER = (
    "graph_uid,tracking_timestamp_us,utc_timestamp_ns,tx_world_device,ty_world_device,tz_world_device,"
    "qx_world_device,qy_world_device,qz_world_device,qw_world_device"
)


@pytest.fixture(scope="module")
def rays() -> NDArray[np.float64]:
    """(704, 704, 3) unit viewing rays of the fisheye pixels."""
    y, x = np.indices((SIDE, SIDE), np.float64)
    return ASE_RGB_704.unproject(np.stack([x, y], axis=-1))


def write_raw(folder: Path, rays: NDArray, frames: int = 2) -> list[NDArray]:
    """A scene in the published format; returns the poses of the camera."""
    rows, poses = [HEADER], []
    for number in range(frames):
        world_from_device = box_room.pose(number)
        camera_to_world = world_from_device @ aria.device_from_camera()
        image, distance = box_room.look(camera_to_world, rays)
        write(folder / "rgb" / f"vignette{number:07d}.jpg", jpeg(image))
        write(folder / "depth" / f"depth{number:07d}.png", png(np.rint(distance * 1000).astype(np.uint16)))
        quaternion = Rotation.from_matrix(world_from_device[:3, :3]).as_quat()
        values = ",".join(repr(float(value)) for value in (*world_from_device[:3, 3], *quaternion))
        rows.append(f"simulated,{100_000 * number},-1,{values}")
        poses.append(camera_to_world)
    write(folder / "trajectory.csv", "\n".join(rows) + "\n")
    return poses


def run(raw: Path, output: Path, **changes):
    settings = aria.AriaSettings(raw=str(raw), output=str(output), workers=0, **{"size": 128, **changes})
    convert = partial(aria.convert, settings=settings)
    return process(DatasetInfo("aria", "none", settings.own("first")), aria.find_scenes(settings), convert, settings)


def test_frames_show_the_room(tmp_path: Path, rays: NDArray) -> None:
    poses = write_raw(tmp_path / "raw" / "7", rays)
    summary = run(tmp_path / "raw", tmp_path / "out", size=512)
    assert summary.written == ["7"] and summary.frames == 2 and not summary.dropped
    assert box_room.check_scene(tmp_path / "out" / "7", depth_tolerance=0.02) == 1.0
    with np.load(tmp_path / "out" / "7" / "cameras.npz") as cameras:
        np.testing.assert_allclose(cameras["timestamp"], [0, 0.1])
        np.testing.assert_allclose(cameras["intrinsics"][0, 0, 0], ASE_RGB_704.focal, rtol=1e-6)
        np.testing.assert_allclose(cameras["intrinsics"][0, :2, 2], 255.5)
        # turned clockwise: the new x axis is the old -y, the view direction stays
        np.testing.assert_allclose(cameras["camera_to_world"][1, :3, 0], -poses[1][:3, 1], atol=1e-6)
        np.testing.assert_allclose(cameras["camera_to_world"][1, :3, 2], poses[1][:3, 2], atol=1e-6)


def test_a_wall_that_faces_the_camera_is_flat(rays: NDArray) -> None:
    """Distances along the fisheye's rays differ by a third; the depth along z is one number, to a millimetre."""
    distance = (np.rint(2000 / rays[..., 2]) / 1000).astype(np.float32)
    settings = aria.AriaSettings(raw="", output="", size=512)
    _, depth, _, _ = aria.rectify_frame(np.zeros((SIDE, SIDE, 3), np.uint8), distance, np.eye(4), settings)
    assert depth.shape == (512, 512)
    np.testing.assert_allclose(depth, 2.0, atol=1e-3)


def test_far_depth_is_invalid() -> None:
    distance = np.full((SIDE, SIDE), 20.5, np.float32)
    distance[:, : SIDE // 2] = 19.5
    settings = aria.AriaSettings(raw="", output="", size=128)
    _, depth, _, _ = aria.rectify_frame(np.zeros((SIDE, SIDE, 3), np.uint8), distance, np.eye(4), settings)
    assert (depth[:40] > 0).all() and (depth[-40:] == 0).all()  # left is on top after the turn


def test_turning_keeps_world_points() -> None:
    intrinsics = np.array([[100.0, 0, 20.0], [0, 110.0, 12.0], [0, 0, 1]])
    pose, height, width = box_room.pose(1), 30, 40
    point = np.array([0.2, -0.1, 1.7])  # in the camera
    x, y = (intrinsics @ point)[:2] / point[2]
    turned, turned_pose = turn_camera_clockwise(intrinsics, pose, height)
    world = pose[:3, :3] @ point + pose[:3, 3]
    again = turned_pose[:3, :3].T @ (world - turned_pose[:3, 3])
    np.testing.assert_allclose((turned @ again)[:2] / again[2], [height - 1 - y, x])
    image = np.zeros((height, width), np.uint8)
    image[5, 9] = 1
    assert turn_clockwise(image)[9, height - 1 - 5] == 1


def test_bad_frames_are_dropped_with_a_reason(tmp_path: Path, rays: NDArray) -> None:
    folder = tmp_path / "raw" / "12"
    write_raw(folder, rays, frames=1)
    good = [folder / "rgb" / "vignette0000000.jpg", folder / "depth" / "depth0000000.png"]
    color, depth = (path.read_bytes() for path in good)
    rows = (folder / "trajectory.csv").read_text().splitlines()
    for number in range(1, 6):
        write(folder / "rgb" / f"vignette{number:07d}.jpg", color if number != 1 else color[: len(color) // 2])
        if number != 2:
            write(folder / "depth" / f"depth{number:07d}.png", depth if number != 3 else depth[: len(depth) // 2])
    rows += [rows[1]] * 3 + [f"simulated,5,-1,nan,{rows[1].split(',', 4)[4]}"]
    write(folder / "trajectory.csv", "\n".join(rows) + "\n")
    summary = run(tmp_path / "raw", tmp_path / "out")
    assert summary.frames == 1
    assert summary.dropped == {
        "damaged color image": 1,
        "no depth image": 1,
        "damaged depth image": 1,
        "pose is not finite": 1,
        "no row in trajectory.csv": 1,
    }


def test_scenes_splits_and_faults(tmp_path: Path) -> None:
    for name in ("3", "449", "450", "500", "notes"):
        (tmp_path / name).mkdir()
    scenes = aria.find_scenes(aria.AriaSettings(raw=str(tmp_path), output=""))
    assert [(scene.name, scene.split) for scene in scenes] == [("3", "train"), ("449", "train"), ("450", "val")]
    write(tmp_path / "3" / "trajectory.csv", "a,b\n1,2\n")
    failed = run(tmp_path, tmp_path / "out").failed
    assert "no column tracking_timestamp_us" in failed["3"]
    assert "trajectory.csv" in failed["449"] and not (tmp_path / "out" / "449").exists()
