"""The three meanings of "mean IoU" against torchmetrics' own numbers, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from common.metrics.segmentation import SegmentationScore, confusion_matrices, score_confusion
from tests.support.uni3r_parity import figures, vectors


def score_of(prediction: torch.Tensor, truth: torch.Tensor, num_classes: int) -> SegmentationScore:
    return score_confusion(confusion_matrices(prediction, truth, num_classes))


def test_agrees_with_torchmetrics_of_either_version() -> None:
    """Stored labels count from 1, with 0 unlabelled; a class that never occurs is -1 in the newer torchmetrics."""
    stored = vectors("metrics", "uni3r_segmentation_metrics")
    expected = figures("metrics", "segmentation", "uni3r_segmentation_metrics")
    truth, prediction = stored["in.labels_gt"].int() - 1, stored["in.labels_pred"].int() - 1
    iou = np.array(expected["mean_iou_present_per_class"])
    score = score_of(prediction, truth, len(iou))
    present = iou >= 0
    assert np.array_equal(np.isnan(score.iou_per_image), ~present) and np.array_equal(np.isnan(score.iou), ~present)
    np.testing.assert_allclose(score.iou_per_image[present], iou[present], atol=1e-6)
    assert score.mean_iou_per_image == pytest.approx(iou[present].mean(), abs=1e-6)
    assert score.mean_iou_absent_is_zero == pytest.approx(expected["mean_iou_absent_is_zero"], abs=1e-6)
    assert score.mean_iou == pytest.approx(expected["jaccard_dataset_macro"], abs=1e-6)
    assert score.pixel_accuracy == pytest.approx(expected["pixel_accuracy"], abs=1e-6)


def test_by_hand() -> None:
    truth = torch.tensor([[[0, 0, 1, 255]], [[1, 1, 1, 1]]])
    prediction = torch.tensor([[[0, 1, 1, 0]], [[1, 1, 1, 7]]])  # 7 is no class; the unlabelled pixel does not count
    score = score_of(prediction, truth, 3)
    assert score.pixels == 7 and score.pixel_accuracy == pytest.approx(5 / 7)
    assert score.iou[:2] == pytest.approx([1 / 2, 4 / 6]) and math.isnan(score.iou[2])
    assert score.iou_per_image[:2] == pytest.approx([1 / 2, (1 / 2 + 3 / 4) / 2])
    assert score.mean_iou_absent_is_zero == pytest.approx((1 / 2 + 1 / 2 + 3 / 4) / 6)


def test_scores_of_joined_batches_are_those_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(1)
    truth, prediction = (torch.randint(0, 4, (6, 5, 5), generator=generator) for _ in range(2))
    parts = [confusion_matrices(prediction[i : i + 2], truth[i : i + 2], 4) for i in (0, 2, 4)]
    assert score_confusion(torch.cat(parts)).mean_iou == score_of(prediction, truth, 4).mean_iou


def test_nothing_to_score_is_an_error() -> None:
    nothing = torch.full((1, 2, 2), 255)
    with pytest.raises(ValueError, match="no labelled pixel"):
        score_of(nothing, nothing, 3)
    with pytest.raises(ValueError, match="differ in shape"):
        score_of(nothing, nothing[:, :1], 3)
