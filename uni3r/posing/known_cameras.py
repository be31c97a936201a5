"""Poses and intrinsics that the user knows: ``transforms.json``, a COLMAP model, or a folder in ScanNet's layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.export.colmap import read_colmap
from common.export.nerfstudio import read_nerfstudio

_INTRINSICS = ("intrinsics.txt", "intrinsic/intrinsic_color.txt", "intrinsic_color.txt")


@dataclass(frozen=True)
class KnownCamera:
    """The camera of one picture."""

    camera_to_world: NDArray[np.float64]
    """(4, 4), OpenCV axes; its unit becomes that of the results."""
    intrinsics: NDArray[np.float64]
    """(3, 3) in pixels of the original picture; the centre of the top left one is (0, 0)."""


class KnownCameras:
    """Cameras by the names of their pictures."""

    def __init__(self, cameras: Mapping[str, KnownCamera], origin: str) -> None:
        self.origin = origin
        self._cameras = dict(cameras)
        self._by_stem: dict[str, list[str]] = {}
        for name in cameras:
            self._by_stem.setdefault(PurePosixPath(name).stem, []).append(name)

    def __len__(self) -> int:
        return len(self._cameras)

    def find(self, name: str) -> KnownCamera:
        """The camera of a picture, by its path or, where that is unique, its name without folder and ending.

        Raises:
            InputError: there is none.
        """
        stems = self._by_stem.get(PurePosixPath(name).stem, [])
        key = name if name in self._cameras else stems[0] if len(stems) == 1 else None
        if key is None:
            example = next(iter(self._cameras), "none")
            raise InputError(f"{self.origin} has no camera for {name}; its pictures are called like {example}")
        return self._cameras[key]


def read_cameras(path: str | Path) -> KnownCameras:
    """Cameras from a ``transforms.json``, the folder of a COLMAP model, or a folder with ``pose/<frame>.txt``.

    Raises:
        InputError: naming the path and what was expected there.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise InputError(f"no cameras at {place}: give a transforms.json, a COLMAP model or a folder with pose/")
    try:
        if place.suffix == ".json":
            return _from_nerfstudio(place)
        if any((place / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
            return _from_colmap(place)
        if (place / "pose").is_dir():
            return _from_scannet(place)
        if (place / "transforms.json").is_file():
            return _from_nerfstudio(place / "transforms.json")
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot read cameras of {place}: {error}") from error
    raise InputError(f"{place} holds neither transforms.json, nor cameras.bin or cameras.txt, nor a folder pose")


def _from_nerfstudio(path: Path) -> KnownCameras:
    scene = read_nerfstudio(path)
    rows = zip(scene.image_paths, scene.camera_to_world, scene.intrinsics, strict=True)
    return KnownCameras({name: KnownCamera(pose, matrix) for name, pose, matrix in rows}, str(path))


def _from_colmap(folder: Path) -> KnownCameras:
    model = read_colmap(folder)
    matrices = np.broadcast_to(model.intrinsics, (len(model.image_names), 3, 3))
    rows = zip(model.image_names, model.camera_to_world, matrices, strict=True)
    return KnownCameras({name: KnownCamera(pose, matrix) for name, pose, matrix in rows}, str(folder))


def _from_scannet(folder: Path) -> KnownCameras:
    file = next((folder / name for name in _INTRINSICS if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"{folder} has poses, but none of {', '.join(_INTRINSICS)}")
    matrix = np.loadtxt(file)[:3, :3]
    poses = {path.stem: np.loadtxt(path) for path in sorted((folder / "pose").glob("*.txt"))}
    usable = {name: pose for name, pose in poses.items() if pose.shape == (4, 4) and np.isfinite(pose).all()}
    if not usable:
        raise InputError(f"{folder}/pose holds no finite 4 x 4 matrix")
    return KnownCameras({name: KnownCamera(pose, matrix) for name, pose in usable.items()}, str(folder))
