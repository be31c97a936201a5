"""Calibrated cameras: straight lines are straight again, and the new intrinsics say where points are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from common.configuration import config_folder, to_dataclass
from common.geometry.calibration import Calibration
from common.geometry.cameras import project
from common.geometry.undistortion import Undistorter
from tests.support.configs import compose_config

BARREL = Calibration(310.0, 300.0, 165.0, 118.0, (240, 320), k1=-0.25, k2=0.06, p1=0.002, p2=-0.001, k3=-0.004)
PINCUSHION = Calibration(310.0, 300.0, 155.0, 122.0, (240, 320), k1=0.12, k2=-0.03)


def dots(calibration: Calibration, points: np.ndarray) -> np.ndarray:
    """A picture of bright dots at camera points (N, 3), seen through the lens."""
    pixels = cv2.projectPoints(points, np.zeros(3), np.zeros(3), calibration.matrix, np.array(calibration.distortion))[
        0
    ][:, 0]
    rows, columns = np.mgrid[: calibration.size[0], : calibration.size[1]]
    image = np.zeros(calibration.size)
    for x, y in pixels:
        image += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return np.repeat(np.rint(255 * image.clip(0, 1)).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize("calibration", [BARREL, PINCUSHION])
def test_points_are_where_the_new_intrinsics_put_them(calibration: Calibration) -> None:
    x, y = np.meshgrid([-0.36, 0.0, 0.33], [-0.27, 0.02, 0.25])
    points = np.stack([x.ravel(), y.ravel(), np.ones(9)], axis=1)
    undistorter = Undistorter(calibration)
    image = undistorter(dots(calibration, points))[..., 0].astype(float)
    for px, py in project(torch.from_numpy(points), undistorter.intrinsics).tolist():
        left, top = round(px) - 7, round(py) - 7
        patch = image[top : top + 15, left : left + 15]
        rows, columns = np.mgrid[top : top + 15, left : left + 15]
        assert (patch * columns).sum() / patch.sum() == pytest.approx(px, abs=0.1)
        assert (patch * rows).sum() / patch.sum() == pytest.approx(py, abs=0.1)


@pytest.mark.parametrize("calibration", [BARREL, PINCUSHION])
def test_no_pixel_comes_from_outside_the_picture(calibration: Calibration) -> None:
    undistorter = Undistorter(calibration)
    focal = undistorter.intrinsics[0, 0].item()
    height, width = calibration.size
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    rays = np.column_stack([(corners - [(width - 1) / 2, (height - 1) / 2]) / focal, np.ones(4)])
    source = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), calibration.matrix, np.array(calibration.distortion))[0][
        :, 0
    ]
    assert (source > -0.5).all()
    assert (source < [width - 0.5, height - 0.5]).all()
    assert 0.5 * calibration.fx < focal < 2 * calibration.fx


def test_an_ideal_camera_changes_nothing() -> None:
    ideal = Calibration(300.0, 300.0, 159.5, 119.5, (240, 320))
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    assert Undistorter(ideal)(image) is image
    np.testing.assert_allclose(Undistorter(ideal).intrinsics, ideal.matrix)


def test_pictures_of_another_size_are_scaled_to_and_of_another_shape_refused() -> None:
    half = BARREL.scaled((120, 160))
    assert (half.fx, half.fy) == (155.0, 150.0)
    # Pixel centres: 165 is 165.5 from the left edge, half of that less half a pixel again.
    assert half.cx == pytest.approx(165.5 / 2 - 0.5)
    with pytest.raises(ValueError, match="calibrated for pictures of"):
        BARREL.scaled((240, 240))


def test_impossible_calibrations_are_named() -> None:
    with pytest.raises(ValueError, match="positive"):
        Calibration(0.0, 300.0, 160.0, 120.0, (240, 320))
    with pytest.raises(ValueError, match="outside"):
        Calibration(300.0, 300.0, 500.0, 120.0, (240, 320))
    with pytest.raises(ValueError, match="distortion"):
        _ = Undistorter(Calibration(100.0, 100.0, 160.0, 120.0, (240, 320), k1=-3.0)).intrinsics


@pytest.mark.parametrize("name", sorted(file.stem for file in (config_folder() / "camera").glob("*.yaml")))
def test_every_camera_file_is_usable(name: str) -> None:
    calibration = to_dataclass(compose_config(f"camera/{name}").camera, Calibration)
    assert Undistorter(calibration).intrinsics.isfinite().all()
