"""Simulation of an ordinary camera from linear radiance: exposure, white balance, tone, vignette, blur, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Degradation:
    """Strengths; 0 switches an effect off. The defaults are mild."""

    exposure: float = 0.12
    """Standard deviation over views of the log exposure, on top of the common exposure of the sequence."""
    white_balance: float = 0.02
    """Standard deviation of the log gains of red and blue per view; the sequence as a whole varies three times that."""
    vignette: float = 0.3
    """Largest loss of light in the corners."""
    blur: float = 0.7
    """Largest standard deviation of the blur, pixels."""
    noise: float = 0.02
    """Largest standard deviation of the noise, in units of [0, 1]."""


def photograph(radiance: Tensor, seed: int, strength: Degradation | None = None) -> Tensor:
    """Pictures (V, 3, H, W) in [-1, 1] of linear radiance (V, 3, H, W). Same seed, same picture."""
    strength = strength or Degradation()
    rng = np.random.default_rng([11, seed])
    views = len(radiance)
    brightness = radiance.mean((0, 2, 3)).clamp_min(1e-6).mean()
    gain = rng.uniform(0.3, 0.65) / brightness
    exposure = np.exp(rng.normal(0, 1, (views, 1)) * strength.exposure)
    balance = np.exp((rng.normal(0, 3, (1, 3)) + rng.normal(0, 1, (views, 3))) * strength.white_balance)
    balance[:, 1] = 1
    factors = torch.from_numpy((exposure * balance).astype(np.float32)).to(radiance.device)[..., None, None]
    light = radiance * (gain * factors)
    light = light * _vignette(
        (radiance.shape[-2], radiance.shape[-1]), rng.uniform(0, strength.vignette), radiance.device
    )
    image = (1 - torch.exp(-light)).pow_(1 / 2.2)
    for view, sigma in enumerate(rng.uniform(0.25, 1, views) * strength.blur):
        if sigma > 0.2:
            image[view] = _blur(image[view], float(sigma))
    level = rng.uniform(0, 1, views) * rng.uniform(0, 1) * strength.noise
    generator = torch.Generator().manual_seed(seed)
    for view in range(views):
        grain = torch.randn(image.shape[1:], generator=generator).to(image.device)
        image[view].add_(grain, alpha=float(level[view]))
    return image.mul_(2).sub_(1).clamp_(-1, 1)


def _vignette(size: tuple[int, int], loss: float, device: torch.device) -> Tensor:
    y = torch.linspace(-1, 1, size[0], device=device)[:, None]
    x = torch.linspace(-1, 1, size[1], device=device)
    return 1 - loss * ((x * x + y * y) / 2) ** 1.5


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur (3, H, W) with five taps in each direction; the border repeats."""
    taps = torch.exp(-0.5 * (torch.arange(3) / sigma) ** 2)
    center, near, far = (taps / (taps[0] + 2 * taps[1] + 2 * taps[2])).tolist()
    for axis in (1, 2):
        size = image.shape[axis]
        first, last = image.narrow(axis, 0, 1), image.narrow(axis, size - 1, 1)
        padded = torch.cat((first, first, image, last, last), axis)
        shifted = [padded.narrow(axis, start, size) for start in range(5)]
        image = shifted[2] * center
        image.add_(shifted[1], alpha=near).add_(shifted[3], alpha=near)
        image.add_(shifted[0], alpha=far).add_(shifted[4], alpha=far)
    return image
