"""The Aria lens: against projectaria_tools, its own inverse, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from data_process.formats.fisheye624 import ASE_RGB_704, Fisheye624

POINTS = np.array(
    [
        [0.3013157121071995, -0.5064692297194854, 1.0],
        [-1.063639201837236, 0.6891945262405994, 1.0],
        [0.9571593323330901, 0.6948778190673708, 1.0],
    ]
)
PIXELS_ASE = [
    [445.6419937790633, 201.41103230115],
    [92.52392180746267, 521.0651839136927],
    [603.8144495668248, 527.624269281962],
]
"""CameraCalibration.project_no_checks of projectaria_tools 2.3.0 for get_ase_rgb_calibration()."""

ALL_TERMS = Fisheye624(
    ASE_RGB_704.focal, ASE_RGB_704.principal_point, ASE_RGB_704.radial, (0.01, -0.02), (0.003, -0.004, 0.005, 0.006)
)
PIXELS_ALL_TERMS = [
    [448.91357660311814, 196.46315240183333],
    [105.54460029711478, 511.63703280591756],
    [604.232483390078, 523.5000759314887],
]
"""The same with tangential and thin prism coefficients."""


@pytest.mark.parametrize(("camera", "pixels"), [(ASE_RGB_704, PIXELS_ASE), (ALL_TERMS, PIXELS_ALL_TERMS)])
def test_projects_as_projectaria_tools(camera: Fisheye624, pixels: list) -> None:
    np.testing.assert_allclose(camera.project(POINTS), pixels, atol=1e-9)
    np.testing.assert_allclose(camera.project(2.5 * POINTS), pixels, atol=1e-9)  # only the direction matters


def test_unprojecting_is_the_inverse() -> None:
    pixels = np.random.default_rng(0).uniform(120, 580, (200, 2))
    rays = ALL_TERMS.unproject(pixels)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose(ALL_TERMS.project(rays), pixels, atol=1e-9)


def test_principal_point_and_what_is_behind() -> None:
    np.testing.assert_allclose(ALL_TERMS.project([0, 0, 3.0]), ALL_TERMS.principal_point)
    np.testing.assert_allclose(ALL_TERMS.unproject(ALL_TERMS.principal_point), [0, 0, 1], atol=1e-12)
    assert np.isnan(ALL_TERMS.project([[0.1, 0.2, -1.0], [0.1, 0.2, 0.0]])).all()


def test_without_distortion_the_radius_is_the_angle() -> None:
    equidistant = Fisheye624(100.0, (10.0, 20.0))
    angle = 1.2
    pixel = equidistant.project([np.sin(angle), 0, np.cos(angle)])
    np.testing.assert_allclose(pixel, [10 + 100 * angle, 20], atol=1e-9)


def test_a_larger_image_shows_the_same() -> None:
    """Pixel centres are at integers: u goes to (u + 0.5) s - 0.5."""
    np.testing.assert_allclose(ALL_TERMS.resized(2).project(POINTS), (ALL_TERMS.project(POINTS) + 0.5) * 2 - 0.5)
