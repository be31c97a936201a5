"""Upright boxes: fitted to points, and their overlap in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.geometry.boxes import Box, box_iou, fit_box, level_axes

UPS = [(0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (0.3, -0.9, 0.2)]


def a_box(up: tuple[float, float, float], yaw: float = 0.0, center=(1.0, 2.0, 3.0), size=(2.0, 1.0, 0.5)) -> Box:
    turn = Rotation.from_euler("z", yaw, degrees=True).as_matrix().T
    return Box(np.array(center), np.array(size), turn @ level_axes(up))


@pytest.mark.parametrize("up", UPS)
@pytest.mark.parametrize("yaw", [0.0, 25.0, 80.0])
def test_the_corners_of_a_box_give_the_box(up, yaw) -> None:
    truth = a_box(up, yaw)
    found = fit_box(truth.corners(), up)
    assert np.allclose(found.center, truth.center, atol=1e-5) and found.volume == pytest.approx(1.0, rel=1e-4)
    assert box_iou(found, truth) == pytest.approx(1.0, abs=1e-3)
    assert np.allclose(found.axes @ found.axes.T, np.eye(3)) and np.linalg.det(found.axes) == pytest.approx(1)
    assert truth.contains(truth.corners(), 1e-6).all() and not truth.contains(truth.corners(), -0.01).any()


def test_a_few_stray_points_do_not_grow_a_box() -> None:
    generator = np.random.default_rng(0)
    inside = generator.uniform(-0.5, 0.5, (2000, 3))
    stray = generator.uniform(-20, 20, (20, 3))
    trimmed = fit_box(np.concatenate([inside, stray]), (0, 0, 1), trim=0.02)
    assert trimmed.volume < 1.1 < 100 < fit_box(np.concatenate([inside, stray]), (0, 0, 1)).volume


@pytest.mark.parametrize("up", UPS)
def test_overlap_in_closed_form(up) -> None:
    first, frame = a_box(up), level_axes(up)
    along = Box(first.center + frame[0], first.size, first.axes)  # half of its length away
    assert box_iou(first, along) == pytest.approx(1 / 3, abs=1e-4)
    above = Box(first.center + 0.25 * frame[2], first.size, first.axes)  # half of its height away
    assert box_iou(first, above) == pytest.approx(1 / 3, abs=1e-4)
    assert box_iou(first, Box(first.center + 9 * frame[1], first.size, first.axes)) == 0
    square = (1.0, 1.0, 1.0)  # a square turned by 45 degrees overlaps in an octagon of 2 (sqrt(2) - 1)
    octagon = 2 * (2**0.5 - 1)
    expected = octagon / (2 - octagon)
    assert box_iou(a_box(up, 0, size=square), a_box(up, 45, size=square)) == pytest.approx(expected, abs=1e-3)
