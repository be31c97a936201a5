"""Reading ``transforms.json``: nerfstudio's cameras with their lenses, and Blender's with a field of view alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.errors import InputError
from common.files import read_json
from common.geometry.lens import Lens

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Flips y and z of the camera axes; its own inverse. World axes stay."""

_RADIAL, _TANGENTIAL = ("k1", "k2", "k3", "k4"), ("p1", "p2")
_FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")
_PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
_BLENDER_SUFFIXES = ("", ".png", ".jpg", ".jpeg")
"""Blender's data sets name pictures without their ending."""


@dataclass(frozen=True)
class NerfstudioFrame:
    """A frame as the file describes it."""

    name: str
    """As written, usually relative to the file."""
    lens: Lens
    camera_to_world: NDArray[np.float64] | None
    """(4, 4), OpenCV axes, unchecked; None where the file has no matrix of 3 x 4 or 4 x 4 numbers."""


def read_nerfstudio_frames(path: str | os.PathLike[str]) -> list[NerfstudioFrame]:
    """The frames of a ``transforms.json``; values of a frame go before those of the file.

    Raises:
        InputError: not such a file, a camera model that is not understood, or no intrinsics.
    """
    file = Path(path)
    try:
        content = read_json(file)
        entries = content["frames"]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise TypeError
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except (KeyError, TypeError):
        raise InputError(f'{file}: expected an object with a list "frames"') from None
    except ValueError as error:
        raise InputError(f"{file}: not valid JSON ({error})") from error
    shared = {key: value for key, value in content.items() if key != "frames"}
    frames = []
    for number, entry in enumerate(entries):
        name = entry.get("file_path")
        if not isinstance(name, str):
            raise InputError(f"{file}: frame {number} has no file_path")
        try:
            lens = _lens({**shared, **entry}, file.parent, name)
        except (ValueError, TypeError, KeyError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            raise InputError(f"{file}: {name}: {reason}") from error
        frames.append(NerfstudioFrame(name, lens, _pose(entry.get("transform_matrix"))))
    return frames


def _lens(values: Mapping[str, Any], folder: Path, name: str) -> Lens:
    height, width = _size(values, folder, name)
    if "fl_x" not in values and "camera_angle_x" in values:
        return _from_angles(values, (height, width))
    fx = float(values["fl_x"])
    fy = float(values.get("fl_y", fx))
    centre = float(values.get("cx", width / 2)), float(values.get("cy", height / 2))
    radial = [float(values.get(key) or 0) for key in _RADIAL]
    tangential = [float(values.get(key) or 0) for key in _TANGENTIAL]
    model = values.get("camera_model", "OPENCV")
    if model in _FISHEYE:
        return Lens("OPENCV_FISHEYE", (height, width), (fx, fy, *centre, *radial))
    if model not in _PERSPECTIVE:
        raise ValueError(f"camera_model {model} is not one of {', '.join((*_PERSPECTIVE, *_FISHEYE))}")
    if radial[3]:
        raise ValueError("k4 of a perspective camera is a term that other programs do not have; undistort the images")
    if not any(radial) and not any(tangential):
        return Lens("PINHOLE", (height, width), (fx, fy, *centre))
    k1, k2, k3, _ = radial
    return Lens("FULL_OPENCV", (height, width), (fx, fy, *centre, k1, k2, *tangential, k3, 0.0, 0.0, 0.0))


def _from_angles(values: Mapping[str, Any], size: tuple[int, int]) -> Lens:
    """Blender's way: full angles of view in radians."""
    height, width = size
    across = float(values["camera_angle_x"])
    if not 0 < across < math.pi:
        raise ValueError(f"camera_angle_x is an angle between 0 and pi, got {across:g}")
    fx = width / 2 / math.tan(across / 2)
    fy = height / 2 / math.tan(float(values["camera_angle_y"]) / 2) if "camera_angle_y" in values else fx
    return Lens("PINHOLE", size, (fx, fy, width / 2, height / 2))


def _size(values: Mapping[str, Any], folder: Path, name: str) -> tuple[int, int]:
    """(height, width): what the file says, or else that of the picture."""
    if "w" in values and "h" in values:
        height, width = float(values["h"]), float(values["w"])
        if not (height.is_integer() and width.is_integer()):
            raise ValueError(f"w and h must be whole numbers, got {width:g} and {height:g}")
        return int(height), int(width)
    for suffix in _BLENDER_SUFFIXES:
        picture = folder / f"{name}{suffix}"
        if picture.is_file():
            try:
                with Image.open(picture) as image:
                    return image.height, image.width
            except OSError as error:
                raise ValueError(f"no w and h, and {picture} is no picture") from error
    raise ValueError("no w and h, and its picture is not there to be measured")


def _pose(matrix: Any) -> NDArray[np.float64] | None:
    try:
        pose = np.array(matrix, np.float64)
    except (TypeError, ValueError):
        return None
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0, 0, 0, 1]])
    return pose @ OPENGL_FROM_OPENCV if pose.shape == (4, 4) else None
