"""Depth errors after alignment: the published figures, and what alignment must and must not forgive."""

from __future__ import annotations

import pytest
import torch

from common.metrics.aligned_depth import AlignedDepthScore, Alignment, score_aligned_depth
from tests.support.uni3r_parity import figures, vectors


def _row(score: AlignedDepthScore) -> list[float]:
    return [score.abs_rel, score.rmse, score.tau_1, score.tau_2, score.tau_3]


@pytest.mark.parametrize("alignment", ["least_squares", "median", "none"])
def test_published_figures(alignment: Alignment) -> None:
    given = vectors("metrics", "uni3r_depth_metrics")
    expected = figures("metrics", f"depth_{alignment}", "uni3r_depth_metrics")
    prediction, truth = given["in.depth_pred"], given["in.depth_gt"]
    together = score_aligned_depth(prediction, truth, alignment)
    assert _row(together) == pytest.approx(list(expected["accumulated"].values()), rel=1e-5)
    for image, row in enumerate(expected["per_image"]):
        alone = score_aligned_depth(prediction[image : image + 1], truth[image : image + 1], alignment)
        assert _row(alone) == pytest.approx(list(row.values()), rel=1e-5)


def test_scale_and_shift_are_forgiven_and_outliers_do_not_move_the_fit() -> None:
    truth = 1 + 3 * torch.rand(2, 20, 20)
    prediction = (truth - 0.4) / 2.5
    prediction[:, :2] += 0.5  # a tenth of the pixels
    score = score_aligned_depth(prediction, truth)
    assert score.tau_1 == pytest.approx(0.9, abs=0.01)


def test_invalid_pixels_do_not_count_and_images_weigh_by_their_pixels() -> None:
    truth = torch.full((2, 10, 10), 2.0)
    truth[1, 1:] = 0
    prediction = torch.full_like(truth, 2.0)
    prediction[1] = 3.0
    score = score_aligned_depth(prediction, truth, "none")
    assert score.pixels == 110
    assert score.abs_rel == pytest.approx(0.5 * 10 / 110)


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="no valid pixel"):
        score_aligned_depth(torch.ones(1, 4, 4), torch.zeros(1, 4, 4))
