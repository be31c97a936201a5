"""The flight passes the input cameras, is smooth and loops; films can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from common.data.sources.video import VideoSource
from common.drawing.video import video_writer
from common.geometry.transforms import rotation_angle
from common.views import Cameras
from uni3r.scene.flight import flight
from uni3r.scene.settings import FlightSettings


def _cameras(count: int) -> Cameras:
    poses = torch.eye(4).repeat(count, 1, 1)
    turns = np.linspace(0, 40, count)
    poses[:, :3, :3] = torch.from_numpy(Rotation.from_euler("y", turns[:, None], degrees=True).as_matrix()).float()
    poses[:, 0, 3] = torch.linspace(0, 1, count) ** 2
    intrinsics = torch.tensor([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]]).repeat(count, 1, 1)
    intrinsics[:, 0, 0] += torch.arange(count)
    return Cameras(poses, intrinsics)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_flight_starts_at_the_first_camera_turns_at_the_last_and_loops(count: int) -> None:
    cameras = _cameras(count)
    path = flight(cameras, depth=2.0, settings=FlightSettings(frames=64, sway=0.0))
    torch.testing.assert_close(path.camera_to_world[0], cameras.camera_to_world[0])
    torch.testing.assert_close(path.camera_to_world[32], cameras.camera_to_world[-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(path.intrinsics[32], cameras.intrinsics[-1])
    around = torch.cat([path.camera_to_world, path.camera_to_world[:1]])
    assert (around[1:, :3, 3] - around[:-1, :3, 3]).norm(dim=-1).max() < 0.12
    assert rotation_angle(around[1:, :3, :3], around[:-1, :3, :3]).max() < 0.06


def test_sway_is_a_share_of_the_depth_and_poses_stay_rigid() -> None:
    cameras = _cameras(3)
    still = flight(cameras, 2.0, FlightSettings(frames=40, sway=0.0)).camera_to_world
    swayed = flight(cameras, 2.0, FlightSettings(frames=40, sway=0.05)).camera_to_world
    assert (swayed - still)[:, :3, 3].norm(dim=-1).max() == pytest.approx(2 * 0.05 * 2.0, rel=0.02)
    identity = torch.eye(3).expand(40, 3, 3)
    torch.testing.assert_close(swayed[:, :3, :3] @ swayed[:, :3, :3].mT, identity, atol=1e-5, rtol=0)


def test_videos_can_be_read_back(tmp_path: Path) -> None:
    shades = [30, 120, 220]
    with video_writer(tmp_path / "film.mp4", (33, 48)) as write:
        for shade in shades:
            write(np.full((33, 48, 3), (shade, 10, 200), np.uint8))
    with VideoSource(tmp_path / "film.mp4") as source:
        frames = [frame.image for frame in source]
    assert [frame.shape for frame in frames] == [(32, 48, 3)] * 3
    for frame, shade in zip(frames, shades, strict=True):
        assert np.abs(frame.astype(int).mean(axis=(0, 1)) - (shade, 10, 200)).max() < 8


def test_a_film_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a frame"), video_writer(tmp_path / "film.mp4", (32, 48)) as write:
        write(np.zeros((16, 16, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
