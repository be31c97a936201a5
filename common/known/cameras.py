"""Known cameras by the names of their pictures, and these pictures as a pinhole camera sees them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.geometry.undistortion import Camera, Undistorter

logger = logging.getLogger(__name__)

LensOf = Callable[[tuple[int, int]], Camera]
"""Gives the lens for pictures of (height, width); raises ValueError if it cannot be theirs."""


@dataclass(frozen=True)
class KnownCamera:
    """The camera of one picture."""

    camera_to_world: NDArray[np.float64]
    """(4, 4), OpenCV axes; its unit becomes that of the results."""
    lens_of: LensOf | None
    """None where only the pose is known."""
    is_straight: bool = True
    """The lens has no distortion, so the picture is taken as it is."""


@dataclass(frozen=True)
class StraightPicture:
    """A picture as a pinhole camera sees it."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    intrinsics: NDArray[np.float64]
    """(3, 3) in its pixels; the centre of the top left one is (0, 0)."""
    is_original: bool
    """There was nothing to undistort: the pixels are those of the file."""


class KnownCameras:
    """Cameras by the names of their pictures.

    Args:
        cameras: (name, camera).
        origin: file or folder, for messages.
        faulty: (name, reason) of pictures whose cameras cannot be used.
    """

    def __init__(
        self,
        cameras: Iterable[tuple[str, KnownCamera]],
        origin: str,
        faulty: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.origin, self.faulty = origin, dict(faulty)
        self._cameras = dict(cameras)
        self._straighteners = Straighteners()
        for name, reason in self.faulty.items():
            logger.warning("%s: %s is left out: %s", origin, name, reason)
        if not self._cameras:
            first = next(iter(self.faulty.items()), None)
            raise InputError(f"{origin} holds no usable camera" + (f"; {first[0]}: {first[1]}" if first else ""))

    def __len__(self) -> int:
        return len(self._cameras)

    @property
    def have_lenses(self) -> bool:
        """Every camera has a lens; False where only poses are known."""
        return all(camera.lens_of is not None for camera in self._cameras.values())

    @property
    def are_straight(self) -> bool:
        """No lens has a distortion."""
        return all(camera.is_straight for camera in self._cameras.values())

    @cached_property
    def only_lens(self) -> LensOf | None:
        """The lens that all cameras share; None where they differ or have none."""
        lenses = {camera.lens_of for camera in self._cameras.values()}
        return next(iter(lenses)) if len(lenses) == 1 else None

    def with_lens(self, lens_of: LensOf, is_straight: bool) -> KnownCameras:
        """The same poses with one lens for all."""
        cameras = [(name, KnownCamera(known.camera_to_world, lens_of, is_straight)) for name, known in self]
        return KnownCameras(cameras, self.origin)

    def __iter__(self):
        return iter(self._cameras.items())

    def find(self, name: str) -> KnownCamera | None:
        """The camera of a picture, by its path or, where that is unique, its name without folder and ending."""
        stems = self._by_stem.get(PurePosixPath(name).stem, [])
        key = name if name in self._cameras else stems[0] if len(stems) == 1 else None
        return None if key is None else self._cameras[key]

    def why_missing(self, name: str) -> str:
        """The reason why there is no camera for a picture."""
        for faulty, reason in self.faulty.items():
            if PurePosixPath(faulty).stem == PurePosixPath(name).stem:
                return f"{self.origin} has no usable camera for it: {reason}"
        return f"{self.origin} has no camera for it; its pictures are called like {next(iter(self._cameras))}"

    def straighten(self, name: str, camera: KnownCamera, image: NDArray[np.uint8]) -> StraightPicture:
        """Undo the distortion of a picture (H, W, 3).

        Raises:
            InputError: the camera is that of other pictures, has no lens, or its distortion cannot be undone.
        """
        if camera.lens_of is None:
            raise InputError(f"{self.origin}: {name}: only its pose is known; add intrinsics.txt with a 3 x 3 matrix")
        return self._straighteners.straighten(f"{self.origin}: {name}", camera.lens_of, image)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = {}
        for name in self._cameras:
            stems.setdefault(PurePosixPath(name).stem, []).append(name)
        return stems


class Straighteners:
    """Undistorters of lenses, each made once."""

    def __init__(self) -> None:
        self._made: dict[Camera, Undistorter] = {}

    def straighten(self, origin: str, lens_of: LensOf, image: NDArray[np.uint8]) -> StraightPicture:
        """Undo the distortion of a picture (H, W, 3); `origin` begins the message of an InputError."""
        try:
            lens = lens_of((image.shape[0], image.shape[1]))
            if lens.is_straight:
                return StraightPicture(image, lens.matrix, True)
            undistorter = self._undistorter(lens)
            return StraightPicture(undistorter(image), undistorter.intrinsics.numpy(), False)
        except ValueError as error:
            raise InputError(f"{origin}: {error}") from error

    def nearest(self, lens_of: LensOf, values: NDArray, size: tuple[int, int]) -> NDArray:
        """Undo the distortion of values that belong to the pixels of a picture of `size`: a mask or depths (h, w).

        The values may have another size than the picture; they keep it, and none is mixed with another.
        """
        lens = lens_of(size)
        if lens.is_straight:
            return values
        return self._undistorter(lens).nearest(values)

    def _undistorter(self, lens: Camera) -> Undistorter:
        if lens not in self._made:
            self._made[lens] = Undistorter(lens)
        return self._made[lens]
