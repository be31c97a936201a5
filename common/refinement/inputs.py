"""Checks of what refinement is given, and the network's cameras in working pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from common.refinement.settings import CameraSettings
from common.refinement.types import Camera, Picture, Prediction

Progress = Callable[[str, float], None]
"""Is told the stage and the share of it that is done."""


def outline(picture: Picture) -> Picture:
    """The picture without its pixels: an image of the same shape that takes one byte."""
    return replace(picture, image=torch.zeros(1, 1, 1, dtype=torch.uint8).expand(picture.image.shape), mask=None)


class Outlines(Sequence[Picture]):
    """Pictures, read through, whose outlines stay."""

    def __init__(self, pictures: Sequence[Picture], settings: CameraSettings) -> None:
        """
        Args:
            pictures: may load a picture when it is asked for.
            settings: largest picture.
        """
        self._pictures = pictures
        self._long_side = settings.long_side
        self._outlines: dict[int, Picture] = {}

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]
        """The picture.

        Raises:
            ValueError: it is not (3 or 1, h, w) uint8, or too large.
        """
        picture = self._pictures[index]
        image = picture.image
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
            raise ValueError(f"{picture.name}: expected (3, h, w) uint8, got {tuple(image.shape)} of {image.dtype}")
        if max(picture.size) > self._long_side:
            raise ValueError(
                f"{picture.name}: a side of {max(picture.size)} pixels, expected {self._long_side} at most"
            )
        self._outlines[index] = outline(picture)
        return picture

    def outlines(self) -> list[Picture]:
        """All outlines; every picture was read before."""
        return [self._outlines[index] for index in range(len(self))]


def check_lengths(pictures: Sequence[Picture], prediction: Prediction) -> None:
    """Raise a ValueError where pictures and prediction do not go together."""
    count = len(pictures)
    height, width = prediction.depth.shape[1:]
    for name, tensor, shape in (
        ("depth", prediction.depth, (count, height, width)),
        ("valid", prediction.valid, (count, height, width)),
        ("camera_to_world", prediction.camera_to_world, (count, 4, 4)),
    ):
        if tuple(tensor.shape) != shape:
            raise ValueError(f"prediction.{name}: expected {shape} for {count} pictures, got {tuple(tensor.shape)}")
    if tuple(prediction.intrinsics.shape) not in ((3, 3), (count, 3, 3)):
        raise ValueError(
            f"prediction.intrinsics: expected (3, 3) or ({count}, 3, 3), got {tuple(prediction.intrinsics.shape)}"
        )


def network_cameras(outlines: Sequence[Picture], prediction: Prediction) -> list[Camera]:
    """The network's camera of every frame, in working pixels."""
    intrinsics = prediction.intrinsics.to(torch.float64).cpu().expand(len(outlines), 3, 3)
    cameras = []
    for picture, matrix in zip(outlines, intrinsics):
        working = torch.linalg.inv(picture.network_from_working.to(torch.float64)) @ matrix
        fx, fy, cx, cy = (float(working[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
        cameras.append(Camera(fx, fy, cx, cy, picture.size))
    return cameras


def first_cameras(
    outlines: Sequence[Picture], network: Sequence[Camera], known: Sequence[Camera | None] | None
) -> list[Camera]:
    """One camera for each camera number: the known one, or the network's median focal length about the middle.

    Raises:
        ValueError: the numbers have gaps, a camera has pictures of two sizes, or a known camera another size.
    """
    number = max(picture.camera for picture in outlines) + 1
    cameras = []
    for index in range(number):
        own = [frame for frame, picture in enumerate(outlines) if picture.camera == index]
        if not own:
            raise ValueError(f"cameras are numbered 0 to {number - 1}, but no picture has camera {index}")
        sizes = {outlines[frame].size for frame in own}
        if len(sizes) > 1:
            raise ValueError(f"camera {index} has pictures of different sizes {sorted(sizes)}; number them apart")
        size = sizes.pop()
        given = known[index] if known is not None and index < len(known) else None
        if given is not None:
            if given.size != size:
                raise ValueError(f"camera {index} is known for pictures of {given.size}, but they are {size}")
            cameras.append(replace(given, known=True))
            continue
        focal = float(np.median([network[frame].focal for frame in own]))
        if not (np.isfinite(focal) and focal > 0):
            focal = float(max(size))
        cameras.append(Camera(focal, focal, (size[1] - 1) / 2, (size[0] - 1) / 2, size))
    return cameras


def network_poses(prediction: Prediction) -> NDArray[np.float64]:
    """(N, 4, 4) float64 copies of the network's poses."""
    return prediction.camera_to_world.detach().cpu().to(torch.float64).numpy().copy()
