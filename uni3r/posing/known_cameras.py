"""Known poses and intrinsics: ``transforms.json``, a COLMAP model, or a folder in ScanNet's layout."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.export.colmap_reading import read_colmap_images
from common.export.nerfstudio_reading import read_nerfstudio_frames
from common.geometry.camera_faults import pose_fault
from common.geometry.lens import Lens
from common.geometry.undistortion import Undistorter
from common.paths import user_path

logger = logging.getLogger(__name__)

_INTRINSICS = ("intrinsics.txt", "intrinsic/intrinsic_color.txt", "intrinsic_color.txt")
LensOf = Callable[[tuple[int, int]], Lens]
"""Gives the lens for pictures of (height, width); raises ValueError if it cannot be theirs."""


@dataclass(frozen=True)
class KnownCamera:
    """The camera of one picture."""

    camera_to_world: NDArray[np.float64]
    """(4, 4), OpenCV axes; its unit becomes that of the results."""
    lens_of: LensOf


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
        self._undistorters: dict[Lens, Undistorter] = {}
        for name, reason in self.faulty.items():
            logger.warning("%s: %s is left out: %s", origin, name, reason)
        if not self._cameras:
            first = next(iter(self.faulty.items()), None)
            raise InputError(f"{origin} holds no usable camera" + (f"; {first[0]}: {first[1]}" if first else ""))

    def __len__(self) -> int:
        return len(self._cameras)

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
            InputError: the camera is that of other pictures, or its distortion cannot be undone.
        """
        try:
            lens = camera.lens_of((image.shape[0], image.shape[1]))
            if lens.is_straight:
                return StraightPicture(image, lens.matrix, True)
            undistorter = self._undistorters.setdefault(lens, Undistorter(lens))
            return StraightPicture(undistorter(image), undistorter.intrinsics.numpy(), False)
        except ValueError as error:
            raise InputError(f"{self.origin}: {name}: {error}") from error

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = {}
        for name in self._cameras:
            stems.setdefault(PurePosixPath(name).stem, []).append(name)
        return stems


def read_cameras(path: str | Path) -> KnownCameras:
    """Cameras from a ``transforms.json``, the folder of a COLMAP model, or a folder with ``pose/<frame>.txt``.

    Cameras with a fault are left out by name.

    Raises:
        InputError: naming the path and what was expected there, or no camera is usable.
    """
    place = user_path(path)
    if not place.exists():
        raise InputError(f"no cameras at {place}: give a transforms.json, a COLMAP model or a folder with pose/")
    if place.is_file():
        return _from_nerfstudio(place)
    if any((place / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
        return _from_colmap(place)
    if (place / "pose").is_dir():
        return _from_scannet(place)
    if (place / "transforms.json").is_file():
        return _from_nerfstudio(place / "transforms.json")
    raise InputError(f"{place} holds neither transforms.json, nor cameras.bin or cameras.txt, nor a folder pose")


def _from_nerfstudio(path: Path) -> KnownCameras:
    return _usable(((frame.name, frame.lens, frame.camera_to_world) for frame in read_nerfstudio_frames(path)), path)


def _from_colmap(folder: Path) -> KnownCameras:
    return _usable(((image.name, image.lens, image.camera_to_world) for image in read_colmap_images(folder)), folder)


def _usable(rows: Iterable[tuple[str, Lens, NDArray | None]], origin: Path) -> KnownCameras:
    cameras, faulty = [], []
    for name, lens, pose in rows:
        fault = lens.fault() or ("it has no pose" if pose is None else pose_fault(pose))
        if fault is None and pose is not None:
            cameras.append((name, KnownCamera(pose, lens.scaled)))
        else:
            faulty.append((name, str(fault)))
    return KnownCameras(cameras, str(origin), faulty)


def _from_scannet(folder: Path) -> KnownCameras:
    file = next((folder / name for name in _INTRINSICS if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"{folder} has poses, but none of {', '.join(_INTRINSICS)}")
    matrix = _read_matrix(file)
    if matrix is None or matrix.shape not in ((3, 3), (4, 4)) or not np.isfinite(matrix).all():
        raise InputError(f"{file}: expected a matrix of 3 x 3 or 4 x 4 finite numbers")
    focal, centre = (matrix[0, 0], matrix[1, 1]), (matrix[0, 2] + 0.5, matrix[1, 2] + 0.5)

    def lens_of(size: tuple[int, int]) -> Lens:
        lens = Lens("PINHOLE", size, (*focal, *centre))  # the file states no size
        if (fault := lens.fault()) is not None:
            raise ValueError(f"{file.name}: {fault}")
        return lens

    cameras, faulty = [], []
    for path in sorted((folder / "pose").glob("*.txt")):
        pose = _read_matrix(path)
        fault = "its file is no matrix of numbers" if pose is None else pose_fault(pose)
        if fault is None and pose is not None:
            cameras.append((path.stem, KnownCamera(pose, lens_of)))
        else:
            faulty.append((path.stem, str(fault)))
    return KnownCameras(cameras, str(folder), faulty)


def _read_matrix(path: Path) -> NDArray[np.float64] | None:
    try:
        return np.loadtxt(path, ndmin=2, encoding="utf-8-sig")
    except (OSError, ValueError):
        return None
