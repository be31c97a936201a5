"""Depth errors with answers known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from common.metrics.depth import score_depth


def test_known_answer_without_scaling() -> None:
    truth = np.array([[[1.0, 2.0], [4.0, 0.0]]])  # the last pixel is invalid
    prediction = np.array([[[1.1, 3.0], [8.0, 7.0]]])
    score = score_depth(prediction, truth, scale="none")
    assert score.abs_rel == pytest.approx((0.1 + 0.5 + 1) / 3)
    assert score.rmse == pytest.approx(np.sqrt((0.01 + 1 + 16) / 3))
    assert (score.delta_1, score.delta_2, score.delta_3) == pytest.approx((1 / 3, 2 / 3, 2 / 3))
    assert score.delta_2 == pytest.approx(2 / 3)  # 1.5 is below 1.5625


def test_median_scale_of_an_image_or_a_sequence() -> None:
    truth = np.random.default_rng(0).uniform(1, 5, size=(3, 6, 8))
    own = np.array([0.5, 2.0, 10.0])[:, None, None]
    score = score_depth(truth / own, truth)
    assert score.abs_rel == pytest.approx(0) and score.delta_1 == 1
    np.testing.assert_allclose(score.scales, own[:, 0, 0])
    assert score_depth(truth / own, truth, scale="sequence").abs_rel > 0.1
    shared = score_depth(truth / 7, truth, scale="sequence")
    assert shared.abs_rel == pytest.approx(0)
    np.testing.assert_allclose(shared.scales, 7)


def test_masks_and_images_without_truth() -> None:
    truth = np.ones((2, 2, 2))
    truth[1] = 0
    prediction = np.full((2, 2, 2), 1.0)
    prediction[0, 0, 0] = np.nan
    prediction[0, 0, 1] = -5
    valid = np.ones((2, 2, 2), bool)
    valid[0, 1, 1] = False
    score = score_depth(prediction, truth, valid, scale="none")
    assert score.abs_rel == pytest.approx((6 + 0) / 2)
    assert score.delta_1 == 0.5  # a negative depth is never near
    assert np.isnan(score.scales[1])
    with pytest.raises(ValueError, match="valid"):
        score_depth(prediction, np.zeros_like(truth))
