"""Printed markers: found in drawn pictures, and their sides measured in a world of another unit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.errors import ConfigurationError
from common.known.markers import MarkerFinder, measure_markers, triangulate

FOCAL, SIZE = 300.0, (240, 320)
CENTRE = np.array([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
INTRINSICS = np.array([[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1]])


def photograph(pose: np.ndarray, side: float, number: int = 3) -> np.ndarray:
    """A marker of a side on the plane z = 2, seen by a camera."""
    pixels = 200
    drawn = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), number, pixels)
    paper = np.pad(drawn, 40, constant_values=255)
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * side / 2 + [0.1, 0, 2]
    local = (corners - pose[:3, 3]) @ pose[:3, :3]
    seen = (local @ INTRINSICS.T)[:, :2] / local[:, 2:]
    edge = np.array([[40, 40], [240, 40], [240, 240], [40, 240]]) - 0.5
    homography = cv2.getPerspectiveTransform(edge.astype(np.float32), seen.astype(np.float32))
    image = cv2.warpPerspective(paper, homography, SIZE[::-1], flags=cv2.INTER_AREA, borderValue=120)
    return np.repeat(image[..., None], 3, axis=2)


def poses() -> np.ndarray:
    result = np.tile(np.eye(4), (6, 1, 1))
    for k, pose in enumerate(result):
        pose[:3, :3] = Rotation.from_euler("yx", [(3 - k) * 6, k], degrees=True).as_matrix()
        pose[:3, 3] = [0.25 * (k - 3), 0.05 * k, 0]
    return result


@pytest.mark.parametrize("unit", [1.0, 7.0])
def test_the_side_comes_out_in_the_unit_of_the_world(unit: float) -> None:
    finder, world = MarkerFinder("DICT_4X4_50"), poses()
    sightings = [finder(photograph(pose, side=0.5)) for pose in world]
    assert all([sighting.marker for sighting in found] == [3] for found in sightings)
    rays = [
        [np.column_stack([(sighting.corners - CENTRE) / FOCAL, np.ones(4)]) for sighting in found]
        for found in sightings
    ]
    world[:, :3, 3] *= unit
    world[2] = np.nan  # a picture without a pose
    size = measure_markers(sightings, world, rays)
    assert size is not None and size.side == pytest.approx(0.5 * unit, rel=0.01)
    assert (size.markers, size.sightings) == (1, 5) and size.spread < 0.02


def test_one_picture_measures_nothing() -> None:
    found = MarkerFinder("DICT_4X4_50")(photograph(np.eye(4), 0.5))
    rays = [[np.column_stack([(found[0].corners - CENTRE) / FOCAL, np.ones(4)])]]
    assert measure_markers([found], np.eye(4)[None], rays) is None


def test_a_wrong_ray_is_outvoted() -> None:
    rng = np.random.default_rng(0)
    centres, target = rng.normal(size=(8, 3)), np.array([0.0, 0, 10])
    directions = target - centres
    directions[3] = [1, 0, 1]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = triangulate(centres, directions)
    assert found is not None and np.linalg.norm(found - target) < 0.01
    assert triangulate(centres[:1], directions[:1]) is None


def test_an_unknown_dictionary_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match="DICT_4X4_50"):
        MarkerFinder("4x4")
