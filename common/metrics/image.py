"""Scores of rendered against true images: PSNR in its two meanings, SSIM, LPIPS."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.metrics.lpips import Lpips


@dataclass(frozen=True)
class ImageScore:
    """Scores of N images, on the CPU."""

    psnr_pooled: float
    """dB, from the squared error of all pixels of all images: as in torchmetrics and Uni3R. Dominated by bad images."""
    psnr_mean: float
    """dB, mean of `psnr`, as in novel-view synthesis papers."""
    ssim_mean: float
    """Mean of `ssim`."""
    lpips_mean: float | None
    """Mean of `lpips`."""
    psnr: Tensor
    """(N,) dB; infinite for equal images."""
    ssim: Tensor
    """(N,) structural similarity (Wang et al. 2004), 11 x 11 Gaussian window of deviation 1.5."""
    lpips: Tensor | None
    """(N,) distances; None if LPIPS was not computed."""


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of (..., 3, H, W) images of peak 1, in dB: (...)."""
    return -10 * (images - truth).square().mean(dim=(-3, -2, -1)).log10()


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of (N, 3, H, W) images of peak 1: (N,). Sides must be at least 11 pixels.

    Raises:
        ImportError: naming the extra to install.
    """
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure
    except ImportError as error:
        raise ImportError("SSIM needs torchmetrics: bash scripts/setup.sh train") from error
    scores = structural_similarity_index_measure(images, truth, data_range=1.0, reduction="none")
    assert isinstance(scores, Tensor)
    return scores.reshape(len(images))


@torch.no_grad()
def score_images(images: Tensor, truth: Tensor, lpips: Lpips | None = None) -> ImageScore:
    """Compare images.

    Args:
        images: (N, 3, H, W), nominally in [0, 1]; renderings are not clamped, as published.
        truth: (N, 3, H, W) in [0, 1].
        lpips: the network, on the same device; None leaves LPIPS out. See `common.metrics.lpips.lpips_available`.

    Raises:
        ValueError: the shapes differ or there is no image.
    """
    if images.shape != truth.shape or images.ndim != 4 or not len(images):
        raise ValueError(f"expected two equal shapes (N, 3, H, W), got {tuple(images.shape)} and {tuple(truth.shape)}")
    images, truth = images.float(), truth.float()
    each, similarity = psnr(images, truth), ssim(images, truth)
    distance = None if lpips is None else lpips(images, truth)
    return ImageScore(
        psnr_pooled=float(-10 * (images - truth).square().mean().log10()),
        psnr_mean=float(each.mean()),
        ssim_mean=float(similarity.mean()),
        lpips_mean=None if distance is None else float(distance.mean()),
        psnr=each.cpu(),
        ssim=similarity.cpu(),
        lpips=None if distance is None else distance.cpu(),
    )
