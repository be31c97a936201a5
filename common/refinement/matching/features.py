"""Local features: SIFT with square-rooted descriptors, and the place to plug in others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.refinement.settings import MatchingSettings
from common.refinement.types import Picture

DESCRIPTOR_SCALE = 512.0
"""Stored descriptors are unit vectors times this, rounded to bytes, as COLMAP stores them."""


@dataclass(frozen=True)
class Features:
    """Features of one picture, strongest (largest) first."""

    xy: NDArray[np.float64]
    """(K, 2) working pixels."""
    descriptors: Tensor
    """(K, D) uint8: non-negative unit vectors times `DESCRIPTOR_SCALE`, or (K, D) float16 unit vectors."""

    def __len__(self) -> int:
        return len(self.xy)

    def unit_descriptors(self, rows: slice = slice(None), device: torch.device | str = "cpu") -> Tensor:
        """(K, D) float32 unit vectors."""
        chosen = self.descriptors[rows].to(device).float()
        return chosen / DESCRIPTOR_SCALE if self.descriptors.dtype == torch.uint8 else chosen


Extractor = Callable[[Picture, int], Features]
"""A feature detector: picture and largest number of features to features, strongest first. Called from threads."""


class SiftExtractor:
    """SIFT (Lowe 2004) with RootSIFT descriptors (Arandjelovic and Zisserman 2012).

    OpenCV's: as many verified matches as COLMAP's at a quarter of its time.
    """

    def __init__(self, contrast: float = MatchingSettings.contrast) -> None:
        """
        Args:
            contrast: threshold; lower finds more and weaker features.
        """
        self.contrast = contrast

    def __call__(self, picture: Picture, max_features: int) -> Features:
        """Detect and describe; the `max_features` of largest scale are kept, as those are found again most often."""
        detector = cv2.SIFT.create(nfeatures=0, contrastThreshold=self.contrast, enable_precise_upscale=True)
        mask = None if picture.mask is None else picture.mask.numpy().astype(np.uint8)
        keypoints, descriptors = detector.detectAndCompute(gray(picture), mask)
        if not keypoints or descriptors is None:
            return Features(np.zeros((0, 2)), torch.zeros(0, 128, dtype=torch.uint8))
        scale = np.array([keypoint.size for keypoint in keypoints])
        order = np.argsort(-scale, kind="stable")[:max_features]
        xy = np.array([keypoints[index].pt for index in order], dtype=np.float64)
        root = np.sqrt(descriptors[order] / np.maximum(descriptors[order].sum(axis=1, keepdims=True), 1e-12))
        stored = np.clip(np.rint(root * DESCRIPTOR_SCALE), 0, 255).astype(np.uint8)
        return Features(xy, torch.from_numpy(stored))


def extract(
    pictures: Sequence[Picture],
    settings: MatchingSettings,
    threads: int = 1,
    extractor: Extractor | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Features]:
    """Features of all pictures, which are read one at a time: the sequence may load them when asked.

    Args:
        pictures: N pictures.
        settings: numbers of features and threshold.
        threads: pictures at a time.
        extractor: SIFT where None.
        progress: told the share that is done.

    Returns:
        N sets of features.
    """
    extractor = extractor or SiftExtractor(settings.contrast)
    limit = min(settings.max_features, max(256, settings.total_features // max(len(pictures), 1)))
    features: list[Features] = []
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for start in range(0, len(pictures), max(threads, 1) * 4):
            batch = [pictures[index] for index in range(start, min(start + threads * 4, len(pictures)))]
            features.extend(pool.map(lambda picture: extractor(picture, limit), batch))
            if progress is not None:
                progress(len(features) / len(pictures))
    return features


def gray(picture: Picture) -> NDArray[np.uint8]:
    """(h, w) luminance of a picture."""
    image = picture.image.movedim(0, -1).contiguous().numpy()
    return image[..., 0] if image.shape[-1] == 1 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
