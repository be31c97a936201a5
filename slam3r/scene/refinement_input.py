"""Input of refinement, gathered during a run: the images, and the network's prediction for every frame."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from common.data.sources.image_files import Frame
from common.data.sources.preprocess import Preprocessed
from common.refinement.types import Picture, Prediction
from slam3r.reconstruction.frames import RegisteredFrame

_EXIF_MODEL, _EXIF_FOCAL_35MM, _EXIF_IFD = 0x0110, 0xA405, 0x8769


@dataclass(frozen=True)
class _Word:
    """The network's prediction for one frame."""

    depth: Tensor
    valid: Tensor
    confidence: Tensor
    colors: Tensor
    camera_to_world: Tensor
    intrinsics: Tensor


class RefinementInput:
    """A sink that also takes the pictures, in the thread that reads them.

    Memory: 0.6 MB a frame of 224 x 224 and a byte per pixel of the gray working pictures, so about 1 GB for 1,000
    frames of 640 x 480.
    """

    def __init__(self, long_side: int, most: int | None = None) -> None:
        """
        Args:
            long_side: longer side of the working pictures, pixels, at most.
            most: largest number of frames to keep, in groups of neighbours spread over the run; None keeps all.
        """
        self._long_side, self._most = long_side, most
        self._lock = threading.Lock()
        self._stride = 1
        self._read = 0
        self._pictures: dict[int, Picture] = {}
        self._words: dict[int, _Word] = {}
        self._cameras: dict[tuple, int] = {}

    def keep(self, frame: Frame, prepared: Preprocessed) -> None:
        """Take the picture of the next frame that will be pushed."""
        index, self._read = self._read, self._read + 1
        if self._wanted(index):
            key = (frame.image.shape[:2], *_exif_camera(frame.path))
            camera = self._cameras.setdefault(key, len(self._cameras))
            picture = working_picture(frame.image, prepared, camera, frame.name, self._long_side)
            with self._lock:
                self._pictures[index] = picture
                self._thin_out()

    def add(self, frame: RegisteredFrame) -> None:
        """Take a registered frame."""
        if not self._wanted(frame.index):
            return
        depth = frame.depth()
        if depth is None:  # without a pose, the local shape is still useful
            local = frame.local_points
            depth = torch.zeros(frame.valid.shape) if local is None else local[..., 2].float()
        pose = frame.camera_to_world
        word = _Word(
            depth,
            frame.valid & (depth > 0) & torch.isfinite(depth),
            frame.world_confidence.float(),
            frame.colors,
            torch.full((4, 4), torch.nan) if pose is None else pose.float(),
            frame.intrinsics.float(),
        )
        with self._lock:
            self._words[frame.index] = word

    def close(self) -> None:
        """Nothing to do."""

    @property
    def frames(self) -> list[int]:
        """Registered frames whose pictures are held, in order."""
        return sorted(self._pictures.keys() & self._words.keys())

    @property
    def complete(self) -> bool:
        """Every frame that was read is held."""
        return len(self._pictures) == self._read

    def pictures(self) -> list[Picture]:
        """Pictures of `frames`, their cameras numbered without gaps."""
        chosen = [self._pictures[index] for index in self.frames]
        return renumbered(chosen)

    def prediction(self) -> Prediction:
        """The network's predictions for `frames`."""
        words = [self._words[index] for index in self.frames]
        return Prediction(
            torch.stack([word.depth for word in words]),
            torch.stack([word.valid for word in words]),
            torch.stack([word.confidence for word in words]),
            torch.stack([word.camera_to_world for word in words]),
            torch.stack([word.intrinsics for word in words]),
        )

    def colors(self, frame: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB network image of a frame that is held."""
        return self._words[frame].colors.numpy()

    def _wanted(self, index: int) -> bool:
        return index % self._stride in (0, 1, 3) or self._stride == 1

    def _thin_out(self) -> None:
        while self._most is not None and len(self._pictures) > self._most:
            self._stride = 4 if self._stride == 1 else 2 * self._stride
            self._pictures = {index: kept for index, kept in self._pictures.items() if self._wanted(index)}
            self._words = {index: kept for index, kept in self._words.items() if self._wanted(index)}


def working_picture(
    image: NDArray[np.uint8], prepared: Preprocessed, camera: int, name: str, long_side: int
) -> Picture:
    """The gray working picture of an image (H, W, 3) uint8 RGB.

    Args:
        image: upright original.
        prepared: of the same image, for the way to network pixels.
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
    network_from_working = torch.linalg.inv(prepared.original_from_network) @ original_from_working
    return Picture(torch.from_numpy(gray)[None], (height, width), camera, network_from_working, name)


def renumbered(pictures: list[Picture]) -> list[Picture]:
    """The same pictures with cameras 0, 1, 2 ... in the order of their first picture."""
    numbers: dict[int, int] = {}
    for picture in pictures:
        numbers.setdefault(picture.camera, len(numbers))
    return [replace(picture, camera=numbers[picture.camera]) for picture in pictures]


def _exif_camera(path: Path | None) -> tuple[str, str]:
    """Model of the camera and its focal length as EXIF states them; pictures that agree share a focal length."""
    if path is None:
        return "", ""
    try:
        with Image.open(path) as file:
            exif = file.getexif()
            return str(exif.get(_EXIF_MODEL, "")), str(exif.get_ifd(_EXIF_IFD).get(_EXIF_FOCAL_35MM, ""))
    except (OSError, ValueError, SyntaxError):
        return "", ""
