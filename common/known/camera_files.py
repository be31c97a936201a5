"""Reading known cameras: ``transforms.json``, COLMAP models, folders of ScanNet and of TUM RGB-D."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.export.colmap_reading import read_colmap_images
from common.export.nerfstudio_reading import read_nerfstudio_frames
from common.export.trajectory import read_tum
from common.geometry.camera_faults import pose_fault
from common.geometry.lens import Lens
from common.known.cameras import KnownCamera, KnownCameras, LensOf
from common.paths import user_path

_INTRINSICS = ("intrinsics.txt", "intrinsic/intrinsic_color.txt", "intrinsic_color.txt")
_TUM_POSES, _TUM_PICTURES = "groundtruth.txt", "rgb.txt"
_TUM_APART = 0.02
"""Seconds between a picture and the pose that counts as its own, at most (the benchmark's own tools)."""
_KINDS = (
    "transforms.json, a COLMAP model, a folder with pose/ and intrinsics.txt (ScanNet), "
    "or one with groundtruth.txt and rgb.txt (TUM)"
)


def read_cameras(path: str | Path) -> KnownCameras:
    """Cameras from a ``transforms.json``, the folder of a COLMAP model, or one in ScanNet's or TUM's layout.

    ScanNet: ``pose/<frame>.txt`` and ``intrinsics.txt``. TUM RGB-D: ``groundtruth.txt`` and ``rgb.txt``, and
    ``intrinsics.txt`` if there is one. Cameras with a fault are left out by name.

    Raises:
        InputError: naming the path and what was expected there, or no camera is usable.
    """
    place = user_path(path)
    if not place.exists():
        raise InputError(f"no cameras at {place}: give {_KINDS}")
    if place.is_file():
        return _from_nerfstudio(place)
    if any((place / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
        return _from_colmap(place)
    if (place / "pose").is_dir():
        return _from_scannet(place)
    if (place / "transforms.json").is_file():
        return _from_nerfstudio(place / "transforms.json")
    if (place / _TUM_POSES).is_file():
        return _from_tum(place)
    raise InputError(f"{place} holds no cameras: expected {_KINDS}")


def _from_nerfstudio(path: Path) -> KnownCameras:
    return _usable(((frame.name, frame.lens, frame.camera_to_world) for frame in read_nerfstudio_frames(path)), path)


def _from_colmap(folder: Path) -> KnownCameras:
    return _usable(((image.name, image.lens, image.camera_to_world) for image in read_colmap_images(folder)), folder)


def _usable(rows: Iterable[tuple[str, Lens, NDArray | None]], origin: Path) -> KnownCameras:
    cameras, faulty = [], []
    lenses: dict[Lens, LensOf] = {}  # one function for each lens: pictures of one camera are told by it
    for name, lens, pose in rows:
        fault = lens.fault() or ("it has no pose" if pose is None else pose_fault(pose))
        if fault is None and pose is not None:
            cameras.append((name, KnownCamera(pose, lenses.setdefault(lens, lens.scaled), lens.is_straight)))
        else:
            faulty.append((name, str(fault)))
    return KnownCameras(cameras, str(origin), faulty)


def _from_scannet(folder: Path) -> KnownCameras:
    lens_of = _shared_lens(folder)
    if lens_of is None:
        raise InputError(f"{folder} has poses, but none of {', '.join(_INTRINSICS)}")
    poses = ((path.stem, _read_matrix(path)) for path in sorted((folder / "pose").glob("*.txt")))
    return _posed(poses, lens_of, folder)


def _from_tum(folder: Path) -> KnownCameras:
    """Poses of the pictures in ``rgb.txt``, each the nearest in time."""
    trajectory = read_tum(folder / _TUM_POSES)
    if not len(trajectory.timestamps):
        raise InputError(f"{folder / _TUM_POSES}: no pose in it")
    rows: list[tuple[str, NDArray | None]] = []
    try:
        lines = (folder / _TUM_PICTURES).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{folder / _TUM_PICTURES}: expected a text file that names the pictures") from error
    for line in lines:
        words = line.partition("#")[0].split(maxsplit=1)
        if not words:
            continue
        try:
            seconds, name = float(words[0]), words[1].strip()
        except (ValueError, IndexError):
            raise InputError(f'{folder / _TUM_PICTURES}: expected "seconds name", got "{line[:80]}"') from None
        nearest = int(np.abs(trajectory.timestamps - seconds).argmin())
        near = abs(trajectory.timestamps[nearest] - seconds) <= _TUM_APART
        rows.append((name, trajectory.camera_to_world[nearest] if near else None))
    return _posed(rows, _shared_lens(folder), folder, f"no pose within {_TUM_APART:g} s of it")


def _posed(
    rows: Iterable[tuple[str, NDArray | None]],
    lens_of: LensOf | None,
    folder: Path,
    missing: str = "its file is no matrix of numbers",
) -> KnownCameras:
    cameras, faulty = [], []
    for name, pose in rows:
        fault = missing if pose is None else pose_fault(pose)
        if fault is None and pose is not None:
            cameras.append((name, KnownCamera(pose, lens_of)))
        else:
            faulty.append((name, str(fault)))
    return KnownCameras(cameras, str(folder), faulty)


def _shared_lens(folder: Path) -> LensOf | None:
    """The lens of a file of intrinsics; None where there is none."""
    file = next((folder / name for name in _INTRINSICS if (folder / name).is_file()), None)
    if file is None:
        return None
    matrix = _read_matrix(file)
    if matrix is None or matrix.shape not in ((3, 3), (4, 4)) or not np.isfinite(matrix).all():
        raise InputError(f"{file}: expected a matrix of 3 x 3 or 4 x 4 finite numbers")
    focal, centre = (matrix[0, 0], matrix[1, 1]), (matrix[0, 2] + 0.5, matrix[1, 2] + 0.5)

    def lens_of(size: tuple[int, int]) -> Lens:
        lens = Lens("PINHOLE", size, (*focal, *centre))  # the file states no size
        if (fault := lens.fault()) is not None:
            raise ValueError(f"{file.name}: {fault}")
        return lens

    return lens_of


def _read_matrix(path: Path) -> NDArray[np.float64] | None:
    try:
        return np.loadtxt(path, ndmin=2, encoding="utf-8-sig")
    except (OSError, ValueError):
        return None
