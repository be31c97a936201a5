"""Effects of cameras and their files on pictures: exposure, white balance, blur, small sensors, noise, JPEG.

Stronger than the renderer's own degradation (`common.rooms.degradation`) and drawn anew for every window, so that a
network meets each rendered picture as many different photographs. All random numbers come from the caller's generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from common.data.scenes.augment import adjust_saturation

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class CameraJitter:
    """Changes of the pictures of a window. A window has one camera; exposure and blur also change between its views."""

    exposure: float = 0.35
    """Standard deviation of the log exposure of the window."""
    exposure_per_view: float = 0.1
    """The same between the views of a window."""
    contrast: float = 0.25
    """Standard deviation of the log of the tone curve's exponent."""
    white_balance: float = 0.12
    """Standard deviation of the log gains of red and blue."""
    saturation: float = 0.5
    """Saturation is drawn from 1 ± this."""
    blur: float = 1.2
    """Largest standard deviation of the blur, pixels; drawn for a third of the views."""
    motion: int = 7
    """Largest length of a motion blur, pixels; drawn for a sixth of the views."""
    shrink: float = 0.5
    """Smallest factor by which pictures are shrunk and enlarged again; drawn for a third of the windows."""
    noise: float = 8.0
    """Largest standard deviation of the noise, grey levels."""
    jpeg: tuple[int, int] = (35, 95)
    """Range of the quality of JPEG compression; drawn for half of the windows."""

    def __call__(self, images: list[np.ndarray], generator: np.random.Generator) -> list[np.ndarray]:
        """Change the images of a window, each (H, W, 3) uint8 RGB."""
        exposure, contrast = generator.normal(0, (self.exposure, self.contrast))
        balance = generator.normal(0, self.white_balance, 3) * (1, 0, 1)
        saturation = float(generator.uniform(1 - self.saturation, 1 + self.saturation))
        shrink = float(generator.uniform(self.shrink, 1)) if generator.random() < 1 / 3 else 1.0
        noise = float(generator.uniform(0, self.noise)) * float(generator.random())
        quality = int(generator.integers(*self.jpeg, endpoint=True)) if generator.random() < 0.5 else None
        results = []
        for image in images:
            gains = exposure + float(generator.normal(0, self.exposure_per_view)) + balance
            image = adjust_saturation(_developed(image, np.exp(gains), float(np.exp(contrast))), saturation)
            image = _noisy(self._blurred(_shrunk(image, shrink), generator), noise, generator)
            results.append(image if quality is None else _compressed(image, quality))
        return results

    def _blurred(self, image: Image, generator: np.random.Generator) -> Image:
        kind = generator.random()
        if kind < 1 / 3:
            sigma = max(0.1, float(generator.uniform(0, self.blur)))
            return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8)
        if kind < 1 / 2 and self.motion >= 2:
            length = float(generator.uniform(1, self.motion))
            return cv2.filter2D(image, -1, _motion_kernel(length, float(generator.uniform(0, np.pi)))).astype(np.uint8)
        return image


def _developed(image: Image, gains: NDArray[np.float64], exponent: float) -> Image:
    """Gains on the light of the three channels, then an exponent about middle grey."""
    light = (np.arange(256) / 255.0) ** 2.2
    tables = np.clip(light[:, None] * gains, 0, 1) ** (1 / 2.2)
    tables = 0.5 * (2 * np.minimum(tables, 1 - tables)) ** exponent * np.where(tables < 0.5, 1, -1) + (tables >= 0.5)
    table = np.rint(np.clip(tables, 0, 1) * 255).astype(np.uint8)[None]
    return cv2.LUT(image, table).astype(np.uint8)


def _shrunk(image: Image, factor: float) -> Image:
    if factor >= 1:
        return image
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _motion_kernel(length: float, angle: float) -> NDArray[np.float32]:
    """A normalized line of a length, in pixels, at an angle."""
    side = 2 * int(np.ceil(length / 2)) + 1
    middle = side // 2
    kernel = np.zeros((side, side), np.float32)
    for along in np.linspace(-length / 2, length / 2, 4 * side):
        x, y = along * np.cos(angle), along * np.sin(angle)
        kernel[round(middle + y), round(middle + x)] += 1
    return kernel / kernel.sum()


def _noisy(image: Image, sigma: float, generator: np.random.Generator) -> Image:
    grain = generator.standard_normal(image.shape, dtype=np.float32) * sigma
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


def _compressed(image: Image, quality: int) -> Image:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
