"""Depth of sequences, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from common.metrics.depth import score_depth
from common.metrics.depth_sequence import score_depth_sequence


def test_by_hand() -> None:
    truth = np.full((2, 1, 5), 2.0, np.float32)
    prediction = np.full((2, 1, 5), 4.0, np.float32)  # a wrong scale costs nothing
    prediction[0, 0, 4] = 6.0  # after the median's factor of a half: 3 m in place of 2 m
    score = score_depth_sequence(lambda image: (prediction[image], truth[image]), 2)
    assert score.abs_rel == pytest.approx((0.5 / 5 + 0) / 2)  # mean of two images
    assert score.rmse == pytest.approx(np.sqrt(1 / 5) / 2)
    assert score.delta_1 == pytest.approx((4 / 5 + 1) / 2)
    assert score.num_images == 2


def test_scale_and_shift_cost_nothing_after_least_squares() -> None:
    truth = np.random.default_rng(0).uniform(1, 4, (3, 8, 8)).astype(np.float32)
    score = score_depth_sequence(lambda image: ((truth[image] - 0.5) / 3, truth[image]), 3)
    assert score.abs_rel_ls == pytest.approx(0, abs=1e-5) and score.tau_1_ls == 1
    assert score.abs_rel > 0.01


def test_threads_make_no_difference_and_gaps_do_not_count() -> None:
    generator = np.random.default_rng(1)
    truth = generator.uniform(1, 4, (6, 8, 8)).astype(np.float32)
    prediction = truth * generator.uniform(0.9, 1.1, truth.shape).astype(np.float32)
    truth[0, :3], prediction[1, 4:], prediction[2], truth[5] = 0, np.nan, np.nan, 0
    one, many = (score_depth_sequence(lambda image: (prediction[image], truth[image]), 6, n) for n in (1, 3))
    assert one == many and one.num_images == 4
    kept = prediction[3][None], truth[3][None]
    alone = score_depth_sequence(lambda image: (prediction[3], truth[3]), 1)
    assert alone.abs_rel == pytest.approx(score_depth(*kept).abs_rel)
    with pytest.raises(ValueError, match="no image"):
        score_depth_sequence(lambda image: (prediction[2], truth[2]), 1)
