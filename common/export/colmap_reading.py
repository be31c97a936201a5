"""Reading COLMAP models, text and binary, of every camera model: the one reader of the project.

Formats: COLMAP documentation, "Output Format". The files are read here and not by pycolmap, which (4.2) cuts names at
blanks, takes truncated camera files, and trusts the counts of damaged ones until the memory is full; what it knows of
lenses is used (`common.geometry.lens`).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from common.errors import InputError
from common.geometry.lens import Lens, model_name, parameter_names

_CAMERA = struct.Struct("<iiQQ")
_IMAGE = struct.Struct("<i7di")
_POINT = struct.Struct("<Q3d3BdQ")
_COUNT = struct.Struct("<Q")
_FEATURE_BYTES, _TRACK_BYTES = 24, 8


@dataclass(frozen=True)
class ColmapImage:
    """A registered image."""

    name: str
    lens: Lens
    camera_to_world: NDArray[np.float64]
    """(4, 4), OpenCV camera axes; NaN where the file holds no pose."""


def read_colmap_images(folder: str | os.PathLike[str]) -> list[ColmapImage]:
    """The registered images of a model in the order of their names; binary files are preferred.

    Raises:
        InputError: files are missing, damaged, or hold a camera model that is not known here.
    """
    place = Path(folder)
    for suffix, read_lenses, read_images in (
        (".bin", _cameras_binary, _images_binary),
        (".txt", _cameras_text, _images_text),
    ):
        cameras, images = place / f"cameras{suffix}", place / f"images{suffix}"
        if cameras.is_file() and images.is_file():
            lenses = _parsed(cameras, read_lenses)
            rows = _parsed(images, partial(read_images, cameras=lenses))
            return sorted(rows, key=lambda image: image.name)
    raise InputError(f"{place}: no COLMAP model; expected cameras.txt and images.txt, or cameras.bin and images.bin")


def read_colmap_points(folder: str | os.PathLike[str]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """World positions (P, 3) and colours (P, 3) RGB of the points of a model; none if it has no file of points.

    Raises:
        InputError: the file is damaged.
    """
    place = Path(folder)
    for suffix, read in ((".bin", _points_binary), (".txt", _points_text)):
        file = place / f"points3D{suffix}"
        if file.is_file():
            table = np.array(_parsed(file, read), np.float64).reshape(-1, 6)
            return table[:, :3], table[:, 3:].clip(0, 255).astype(np.uint8)
    return np.empty((0, 3)), np.empty((0, 3), np.uint8)


def _parsed(file: Path, read: Callable[[bytes], Any]) -> Any:
    try:
        parsed = read(file.read_bytes())
        return list(parsed) if isinstance(parsed, Iterator) else parsed
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except (ValueError, IndexError, KeyError, struct.error) as error:
        missing = f"camera {error} is not in the model" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{file}: not a COLMAP model: {missing}") from error


def _cameras_binary(data: bytes) -> dict[int, Lens]:
    cameras, offset = {}, _COUNT.size
    for _ in range(_COUNT.unpack_from(data)[0]):  # unpacking fails where the data ends, whatever the count says
        number, kind, width, height = _CAMERA.unpack_from(data, offset)
        model = model_name(kind)
        count = len(parameter_names(model))
        parameters = struct.unpack_from(f"<{count}d", data, offset + _CAMERA.size)
        cameras[number] = Lens(model, (height, width), parameters)
        offset += _CAMERA.size + 8 * count
    return cameras


def _images_binary(data: bytes, cameras: Mapping[int, Lens]) -> Iterator[ColmapImage]:
    offset = _COUNT.size
    for _ in range(_COUNT.unpack_from(data)[0]):
        _, *pose, camera = _IMAGE.unpack_from(data, offset)
        start = offset + _IMAGE.size
        end = data.index(b"\0", start)
        yield ColmapImage(data[start:end].decode("utf-8"), cameras[camera], _camera_to_world(pose))
        offset = end + 1 + _COUNT.size + _FEATURE_BYTES * _COUNT.unpack_from(data, end + 1)[0]
    if offset > len(data):
        raise ValueError("it ends early")


def _points_binary(data: bytes) -> Iterator[tuple[float, ...]]:
    offset = _COUNT.size
    for _ in range(_COUNT.unpack_from(data)[0]):
        _, *values, _, track = _POINT.unpack_from(data, offset)
        yield tuple(values)
        offset += _POINT.size + _TRACK_BYTES * track
    if offset > len(data):
        raise ValueError("it ends early")


def _cameras_text(data: bytes) -> dict[int, Lens]:
    cameras = {}
    for line in _lines(data):
        if line:
            number, model, width, height, *parameters = line.split()
            cameras[int(number)] = Lens(model, (int(height), int(width)), tuple(map(float, parameters)))
    return cameras


def _images_text(data: bytes, cameras: Mapping[int, Lens]) -> Iterator[ColmapImage]:
    """Every image has a line of its own and one of its features, which is empty where there are none.

    Some editors strip or add empty lines: a line is one of features if it is made of triples of numbers.
    """
    lines = _lines(data)
    line = next(lines, None)
    while line is not None:
        if not line:
            line = next(lines, None)
            continue
        fields = line.split(maxsplit=9)
        if len(fields) < 10:
            raise ValueError(f'expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, got "{line[:80]}"')
        pose = [float(value) for value in fields[1:8]]
        yield ColmapImage(fields[9].strip(), cameras[int(fields[8])], _camera_to_world(pose))
        line = next(lines, None)
        while line == "":
            line = next(lines, None)
        if line is not None and _is_features(line):
            line = next(lines, None)


def _is_features(line: str) -> bool:
    words = line.split()
    if len(words) % 3:
        return False
    try:
        return all(np.isfinite(float(word)) for word in words)
    except ValueError:
        return False


def _points_text(data: bytes) -> Iterator[tuple[float, ...]]:
    for line in _lines(data):
        if line:
            words = line.split()
            if len(words) < 7:
                raise ValueError(f'expected POINT3D_ID X Y Z R G B ERROR TRACK[], got "{line[:80]}"')
            yield tuple(map(float, words[1:7]))


def _lines(data: bytes) -> Iterator[str]:
    for line in data.decode("utf-8-sig").splitlines():
        if not line.lstrip().startswith("#"):
            yield line.strip()


def _camera_to_world(pose: list[float]) -> NDArray[np.float64]:
    """From COLMAP's world-to-camera quaternion (w, x, y, z) and translation; NaN where these are no pose."""
    values = np.array(pose)
    quaternion = np.roll(values[:4], -1)
    if not np.isfinite(values).all() or not np.linalg.norm(quaternion) > 1e-6:
        return np.full((4, 4), np.nan)
    result = np.eye(4)
    result[:3, :3] = Rotation.from_quat(quaternion).inv().as_matrix()
    result[:3, 3] = -result[:3, :3] @ values[4:]
    return result
