"""Metrics of semantic segmentation: three definitions of mean IoU, and pixel accuracy.

"Mean IoU" is defined in several ways, and torchmetrics' `MeanIoU` has changed its definition between releases. All of
them are computed here from one confusion matrix per image, under names that state the definition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class SegmentationScore:
    """IoU per class (NaN where undefined) and means over the classes where it is defined; everything in [0, 1]."""

    iou: NDArray[np.float64]
    """(K,) of the data set as one confusion matrix, as segmentation benchmarks do, and torchmetrics' `JaccardIndex`."""
    mean_iou: float
    """Mean of `iou`."""
    iou_per_image: NDArray[np.float64]
    """(K,) mean over the images in which the class is seen or predicted (torchmetrics' `MeanIoU` from 1.7.4)."""
    mean_iou_per_image: float
    """Mean of `iou_per_image`."""
    mean_iou_absent_is_zero: float
    """Mean over all classes and images, a class absent from an image counting 0 (torchmetrics' `MeanIoU` to 1.7.0)."""
    pixel_accuracy: float
    """Share of labelled pixels with the correct class."""
    pixels: int
    """Labelled pixels."""


def confusion_matrices(prediction: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Count pixels by true and predicted class, for every image.

    Args:
        prediction: (N, H, W) integer classes; values outside 0 to K - 1 count as wrong but belong to no class.
        truth: (N, H, W) integer classes; pixels outside 0 to K - 1, such as 255, are ignored.
        num_classes: K.

    Returns:
        (N, K, K + 1) int64, rows true, columns predicted; the last column is "no class".

    Raises:
        ValueError: when the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape")
    predicted, true = prediction.flatten(1).long(), truth.flatten(1).long()
    predicted = torch.where((predicted >= 0) & (predicted < num_classes), predicted, num_classes)
    cells = num_classes * (num_classes + 1)
    # Ignored pixels go to an extra cell after the last.
    cell = torch.where((true >= 0) & (true < num_classes), true * (num_classes + 1) + predicted, cells)
    counts = torch.zeros(len(cell), cells + 1, dtype=torch.int64, device=cell.device)
    counts.scatter_add_(1, cell, torch.ones_like(cell))
    return counts[:, :cells].view(-1, num_classes, num_classes + 1)


def score_confusion(confusion: Tensor) -> SegmentationScore:
    """Scores from (N, K, K + 1) confusion matrices, so that those of many batches can be joined first.

    Raises:
        ValueError: when no pixel is labelled.
    """
    counts = confusion.cpu().numpy().astype(np.float64)
    if counts.sum() == 0:
        raise ValueError("no labelled pixel")
    iou = _iou(counts.sum(axis=0, keepdims=True))[0]
    each = _iou(counts)
    seen = ~np.isnan(each)
    per_image = np.full(each.shape[1], np.nan)
    per_image[seen.any(axis=0)] = np.nanmean(each[:, seen.any(axis=0)], axis=0)
    return SegmentationScore(
        iou=iou,
        mean_iou=float(np.nanmean(iou)),
        iou_per_image=per_image,
        mean_iou_per_image=float(np.nanmean(per_image)),
        mean_iou_absent_is_zero=float(np.nan_to_num(each).mean()),
        pixel_accuracy=float(np.trace(counts.sum(axis=0)[:, :-1]) / counts.sum()),
        pixels=int(counts.sum()),
    )


def _iou(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K, K + 1) to (N, K): intersection over union, NaN where the union is empty."""
    intersection = np.diagonal(counts[:, :, :-1], axis1=1, axis2=2)
    union = counts.sum(axis=2) + counts[:, :, :-1].sum(axis=1) - intersection
    return np.where(union > 0, intersection / np.maximum(union, 1), np.nan)
