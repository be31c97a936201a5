"""Pictures of several cameras in one folder: every camera has a focal length of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.refinement.pictures import CameraNumbers
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.scene.camera_focals import FEWEST, CameraFocals

SIZE = (48, 64)
SHARED = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])


def registered(index: int, focal: float, has_points: bool = True) -> RegisteredFrame:
    """A frame whose own points are those of a pinhole camera, apart from a few wild ones of low confidence."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in SIZE), indexing="ij")
    depth = 2 + torch.rand(SIZE, generator=torch.Generator().manual_seed(index))
    points = torch.stack([(x - 31.5) / focal * depth, (y - 23.5) / focal * depth, depth], dim=-1)
    confidence = torch.full(SIZE, 3.0)
    points[:4], confidence[:4] = 100 * torch.rand(4, SIZE[1], 3), 1.0
    return RegisteredFrame(
        index=index,
        name=str(index),
        timestamp=float(index),
        image=torch.zeros(3, *SIZE),
        world_points=points,
        world_confidence=confidence,
        valid=torch.ones(SIZE, dtype=torch.bool),
        local_points=points if has_points else None,
        local_confidence=confidence,
        mean_confidence=3.0,
        local_mean_confidence=3.0,
        keyframe=True,
        status="ok",
        camera_to_world=torch.eye(4),
        intrinsics=torch.from_numpy(SHARED),
        pose_inliers=1.0,
    )


def two_cameras() -> CameraNumbers:
    numbers = CameraNumbers()
    assert [numbers.of(size, None) for size in ((480, 640), (1080, 1920), (480, 640))] == [0, 1, 0]
    return numbers


def test_each_camera_takes_the_median_of_its_frames() -> None:
    focals = CameraFocals(two_cameras(), threshold=2.0)
    for index in range(2 * FEWEST):
        focals.add(registered(index, 60.0 if index % 2 else 90.0, has_points=index != 5))
    matrices = focals.intrinsics(SHARED, {index: index % 2 for index in range(2 * FEWEST)})
    assert [matrices[index][0, 0] for index in (0, 2, 4)] == pytest.approx([90.0] * 3, rel=0.01)
    assert matrices[1][0, 0] == pytest.approx(60.0, rel=0.01)  # two estimates are too few: the shared one
    assert np.allclose(matrices[0][:2, 2], SHARED[:2, 2]) and matrices[0][0, 0] == matrices[0][1, 1]


def test_one_camera_keeps_the_shared_focal_length() -> None:
    numbers = CameraNumbers()
    numbers.of((480, 640), None)
    focals = CameraFocals(numbers, threshold=2.0)
    for index in range(4):
        focals.add(registered(index, 90.0))
    matrices = focals.intrinsics(SHARED, dict.fromkeys(range(4), 0))
    assert all(np.array_equal(matrix, SHARED) for matrix in matrices.values())


def test_exif_tells_cameras_of_one_size_apart(tmp_path: Path) -> None:
    numbers = CameraNumbers()
    for name, model in (("a", "Phone"), ("b", "Camera"), ("c", "Phone")):
        exif = Image.Exif()
        exif[0x0110] = model
        Image.new("RGB", (64, 48)).save(tmp_path / f"{name}.jpg", exif=exif)
    assert [numbers.of((48, 64), tmp_path / f"{name}.jpg") for name in "abc"] == [0, 1, 0]
