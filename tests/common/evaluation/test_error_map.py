"""Colours of errors, and where their scale ends."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.evaluation.figures import choose_limit, error_colors, write_error_map


@pytest.mark.parametrize(("usual", "outlier", "limit"), [(0.02, 3.0, 0.1), (0.2, 3.0, 0.2), (0.3, 0.3, 0.4), (9, 9, 4)])
def test_the_scale_ends_above_nine_of_ten_errors(usual: float, outlier: float, limit: float) -> None:
    assert choose_limit(np.array([usual] * 95 + [outlier] * 5)) == limit


def test_small_errors_are_blue_and_large_ones_red() -> None:
    small, large, beyond = error_colors(np.array([0.01, 0.1, 7.0]), 0.1).astype(int)
    assert small[2] > small[0] and large[0] > large[2]
    assert (large == beyond).all()


def test_a_map_shows_cloud_and_scale(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3)) + [0, 0, 3]
    cloud, picture = write_error_map(tmp_path, points, np.linspace(0, 0.2, 500), np.eye(4)[None])
    assert cloud.stat().st_size > 500 * 15
    image = cv2.imread(str(picture))
    assert image.shape == (540, 810 + 26 + 96, 3)
    bar = image[54:486, 810 + 20].astype(int)  # red on top, blue at the bottom
    assert bar[0, 2] > bar[0, 0] and bar[-1, 0] > bar[-1, 2]
