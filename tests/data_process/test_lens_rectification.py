"""COLMAP files are read, text and binary alike, and their cameras undistorted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import InputError
from common.export.colmap_reading import read_colmap_images
from common.geometry.lens import Lens
from data_process.formats.lens_rectification import opencv_camera, undistortion
from tests.support.box_room import pose
from tests.support.colmap_files import write_model

FISHEYE = Lens("OPENCV_FISHEYE", (120, 180), (75.0, 76.0, 92.0, 58.5, 0.03, -0.02, 0.004, -0.001))
PHONE = Lens("OPENCV", (96, 128), (100.0, 101.0, 64.7, 47.2, 0.04, -0.09, 0.002, -0.001))


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_both_formats_are_read(tmp_path: Path, binary: bool) -> None:
    poses = {"video/frame_000010.jpg": pose(1), "video/frame_000000.jpg": pose(0)}
    write_model(tmp_path, FISHEYE.model, FISHEYE.size, list(FISHEYE.parameters), poses, binary)
    images = read_colmap_images(tmp_path)
    assert [image.name for image in images] == ["video/frame_000000.jpg", "video/frame_000010.jpg"]
    assert all(image.lens == FISHEYE for image in images)
    for number, image in enumerate(images):
        np.testing.assert_allclose(image.camera_to_world, pose(number), atol=1e-12)


def test_a_pose_that_is_not_finite_stays_visible(tmp_path: Path) -> None:
    write_model(tmp_path, "PINHOLE", (4, 6), [5, 5, 3, 2], {"a.jpg": np.full((4, 4), np.nan), "b.jpg": pose(0)})
    broken, good = read_colmap_images(tmp_path)
    assert np.isnan(broken.camera_to_world).all() and np.isfinite(good.camera_to_world).all()


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no COLMAP model"):
        read_colmap_images(tmp_path)
    write_model(tmp_path, "PINHOLES", (4, 6), [1.0] * 4, {"a.jpg": pose(0)})
    with pytest.raises(InputError, match="camera model PINHOLES is not one of"):
        read_colmap_images(tmp_path)
    write_model(tmp_path, "OPENCV", (4, 6), [1.0] * 8, {"a.jpg": pose(0)}, binary=True)
    content = (tmp_path / "images.bin").read_bytes()
    (tmp_path / "images.bin").write_bytes(content[:-30])
    with pytest.raises(InputError, match="not a COLMAP model"):
        read_colmap_images(tmp_path)


@pytest.mark.parametrize("camera", [FISHEYE, PHONE], ids=lambda camera: camera.model)
def test_undistorted_pixels_look_where_they_say(camera: Lens) -> None:
    """A pinhole pixel's ray, projected by OpenCV's distorted camera, falls where the map looks it up."""
    ideal = undistortion(camera)
    height, width = camera.size
    np.testing.assert_allclose(ideal.intrinsics[:2, 2], [(width - 1) / 2, (height - 1) / 2], atol=0.51)
    intrinsics, distortion, fisheye = opencv_camera(camera)
    np.testing.assert_allclose(intrinsics[:2, 2], np.array(camera.parameters[2:4]) - 0.5)  # COLMAP counts from corners
    for x, y in ((width // 2, height // 2), (10, 12), (width - 9, height - 20)):
        ray = np.linalg.inv(ideal.intrinsics) @ [x, y, 1]
        project = cv2.fisheye.projectPoints if fisheye else cv2.projectPoints
        pixel = project(ray.reshape(1, 1, 3), np.zeros(3), np.zeros(3), intrinsics, distortion)[0].ravel()
        np.testing.assert_allclose([ideal.map_x[y, x], ideal.map_y[y, x]], pixel, atol=1e-3)


def test_what_the_camera_did_not_see_has_no_values() -> None:
    """Keeping all pixels of a barrel-distorted image leaves empty corners."""
    barrel = Lens("OPENCV", (96, 128), (100.0, 100.0, 64.0, 48.0, -0.25, 0.05, 0.0, 0.0))
    ideal = undistortion(barrel)
    values = ideal.nearest(np.full(barrel.size, 7, np.uint8))
    assert not ideal.seen.all() and (values[ideal.seen] == 7).all() and (values[~ideal.seen] == 0).all()
