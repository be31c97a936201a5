"""COLMAP models with tracks, as pycolmap reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.export.colmap_tracks import TrackedModel, write_tracked_model

pycolmap = pytest.importorskip("pycolmap")

INTRINSICS = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
K1 = [-0.1, -0.1, 0.0]


def model() -> TrackedModel:
    """Three cameras in a row that see twenty points exactly; the last lens is straight."""
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = [0.0, 0.3, 0.6]
    points = np.random.default_rng(0).uniform([-1, -1, 3], [1, 1, 5], (20, 3))
    image, point = (grid.ravel() for grid in np.meshgrid(np.arange(3), np.arange(20)))
    xyz = points[point] - poses[image, :3, 3]
    xy = xyz[:, :2] / xyz[:, 2:]
    xy *= 1 + np.array(K1)[image, None] * (xy**2).sum(axis=1, keepdims=True)
    xy = 500 * xy + [319.5, 239.5]
    names = ["a b/0.png", "a b/1.png", "é.jpg"]
    colors = np.full((20, 3), 7, np.uint8)
    matrices, sizes = np.tile(INTRINSICS, (3, 1, 1)), np.tile([480, 640], (3, 1))
    return TrackedModel(poses, matrices, np.array(K1), sizes, names, points, colors, point, image, xy)


def test_observations_lie_where_the_distorted_cameras_see_the_points(tmp_path: Path) -> None:
    write_tracked_model(tmp_path / "sparse/0", model())
    read = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
    assert read.compute_num_observations() == 60 and len(read.points3D) == 20
    assert all(point.track.length() == 3 for point in read.points3D.values())
    assert read.compute_mean_reprojection_error() < 1e-6


def test_without_the_radial_term_observations_are_off_by_what_it_moves(tmp_path: Path) -> None:
    exact = model()
    write_tracked_model(tmp_path / "sparse/0", replace(exact, radial_distortion=np.zeros(3)))
    xyz = exact.points[exact.point] - exact.camera_to_world[exact.image, :3, 3]
    radius = np.linalg.norm(xyz[:, :2] / xyz[:, 2:], axis=1)
    moved = 500 * np.abs(exact.radial_distortion[exact.image]) * radius**3
    read = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
    assert read.compute_mean_reprojection_error() == pytest.approx(moved.mean(), rel=1e-6)


def test_names_poses_and_shared_cameras(tmp_path: Path) -> None:
    write_tracked_model(tmp_path / "sparse/0", model())
    read = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
    images = {image.name: image for image in read.images.values()}
    assert sorted(images) == sorted(model().image_names)
    np.testing.assert_allclose(images["a b/1.png"].projection_center(), [0.3, 0, 0], atol=1e-9)
    first, second, straight = (read.cameras[images[name].camera_id] for name in model().image_names)
    assert first.camera_id == second.camera_id != straight.camera_id and len(read.cameras) == 2
    assert first.model.name == "SIMPLE_RADIAL" and straight.model.name == "PINHOLE"
    np.testing.assert_allclose(first.params, [500, 320, 240, -0.1])
