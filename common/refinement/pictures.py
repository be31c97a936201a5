"""Working pictures from original images, and the physical cameras that took them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from common.refinement.types import Camera, Picture

_EXIF_MODEL, _EXIF_FOCAL_35MM, _EXIF_IFD = 0x0110, 0xA405, 0x8769


class CameraNumbers:
    """Numbers the cameras: pictures of one size whose EXIF names one camera and focal length share a number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Hashable, ...], int] = {}

    def of(self, size: tuple[int, int], path: Path | None, lens: Hashable | None = None) -> int:
        """Number of the camera of a picture of (height, width), in a file or in none; a known lens tells it apart."""
        kind = (*size, *(exif_camera(path) if lens is None else (lens,)))
        return self._numbers.setdefault(kind, len(self._numbers))

    def __len__(self) -> int:
        return len(self._numbers)


class WorkingPictures:
    """Makes working pictures, and numbers their cameras."""

    def __init__(self, long_side: int) -> None:
        """
        Args:
            long_side: of the working pictures, pixels, at most.
        """
        self._long_side = long_side
        self._cameras = CameraNumbers()

    def of(
        self,
        image: NDArray[np.uint8],
        original_from_network: Tensor,
        name: str,
        path: Path | None,
        lens: Hashable | None = None,
    ) -> Picture:
        """The working picture of an original.

        Args:
            image: (H, W, 3) RGB, upright.
            original_from_network: (3, 3) affine from network pixels to the original's.
            name: for messages.
            path: its file, for EXIF; None where there is none.
            lens: tells cameras of known lenses apart; None where EXIF does.
        """
        camera = self._cameras.of((image.shape[0], image.shape[1]), path, lens)
        return working_picture(image, original_from_network, camera, name, self._long_side)


def working_picture(
    image: NDArray[np.uint8], original_from_network: Tensor, camera: int, name: str, long_side: int
) -> Picture:
    """The gray working picture of an image (H, W, 3) uint8 RGB.

    Args:
        image: upright original.
        original_from_network: (3, 3) affine from network pixels to the original's.
        camera: number of the physical camera.
        name: for messages.
        long_side: of the working picture, pixels, at most.
    """
    height, width = image.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if size != (height, width):
        gray = cv2.resize(gray, size[::-1], interpolation=cv2.INTER_AREA)
    x, y = width / size[1], height / size[0]
    original_from_working = torch.tensor([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]], dtype=torch.float64)
    network_from_working = torch.linalg.inv(original_from_network) @ original_from_working
    return Picture(torch.from_numpy(gray)[None], (height, width), camera, network_from_working, name)


def working_camera(intrinsics: NDArray[np.float64], picture: Picture) -> Camera:
    """The known camera of a picture from its intrinsics (3, 3) in pixels of the straight original."""
    y, x = (working / original for working, original in zip(picture.size, picture.original_size))
    (fx, fy), (cx, cy) = intrinsics.diagonal()[:2].tolist(), intrinsics[:2, 2].tolist()
    return Camera(x * fx, y * fy, (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5, picture.size, known=True)


def renumbered(pictures: list[Picture]) -> list[Picture]:
    """The same pictures with cameras 0, 1, 2 ... in the order of their first picture."""
    numbers: dict[int, int] = {}
    for picture in pictures:
        numbers.setdefault(picture.camera, len(numbers))
    return [replace(picture, camera=numbers[picture.camera]) for picture in pictures]


def exif_camera(path: Path | None) -> tuple[str, str]:
    """Model of the camera and its focal length as EXIF states them; pictures that agree share a focal length."""
    if path is None:
        return "", ""
    try:
        with Image.open(path) as file:
            exif = file.getexif()
            return str(exif.get(_EXIF_MODEL, "")), str(exif.get_ifd(_EXIF_IFD).get(_EXIF_FOCAL_35MM, ""))
    except (OSError, ValueError, SyntaxError):
        return "", ""
