"""Cameras and poses of a COLMAP reconstruction, text or binary, with the distorted camera models that data sets use.

Formats: COLMAP documentation, "Output Format" (cameras, images) and "Camera Models"; models by Schoenberger and Frahm,
"Structure-from-Motion Revisited", CVPR 2016. Points are not read. `common.export.colmap` writes pinhole models.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from common.errors import InputError
from data_process.formats.rectify import Matrix, Rectification, Size, make_rectification

_PARAMETERS = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4, "SIMPLE_RADIAL": 4, "RADIAL": 5, "OPENCV": 8, "OPENCV_FISHEYE": 8}
_NUMBERED = tuple(_PARAMETERS)  # COLMAP numbers its models in this order, from 0
_CAMERA = struct.Struct("<iiQQ")
_IMAGE = struct.Struct("<i7di")
_FEATURE_BYTES = 24


@dataclass(frozen=True)
class ColmapCamera:
    """A camera as COLMAP writes it: the centre of the top left pixel is (0.5, 0.5)."""

    model: str
    size: Size
    """(height, width), pixels."""
    parameters: tuple[float, ...]
    """In COLMAP's order for the model."""


@dataclass(frozen=True)
class ColmapImage:
    """A registered image."""

    name: str
    camera: ColmapCamera
    camera_to_world: NDArray[np.float64]
    """(4, 4), OpenCV camera axes; not finite where the file says so."""


def read_colmap_images(folder: Path) -> list[ColmapImage]:
    """The registered images of a model in the order of their names; binary files are preferred.

    Raises:
        InputError: files are missing, damaged, or hold a camera model that is not known here.
    """
    for suffix, read in ((".bin", _read_binary), (".txt", _read_text)):
        cameras, images = folder / f"cameras{suffix}", folder / f"images{suffix}"
        if cameras.is_file() and images.is_file():
            try:
                return sorted(read(cameras, images), key=lambda image: image.name)
            except (ValueError, IndexError, KeyError, struct.error) as error:
                raise InputError(f"{folder}: not a COLMAP model ({type(error).__name__}: {error})") from error
    raise InputError(f"{folder}: no COLMAP model; expected cameras.txt and images.txt, or cameras.bin and images.bin")


def _read_text(cameras_file: Path, images_file: Path) -> list[ColmapImage]:
    cameras = {}
    for line in cameras_file.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            number, model, width, height, *parameters = line.split()
            cameras[int(number)] = _camera(model, int(width), int(height), tuple(map(float, parameters)))
    lines = [line for line in images_file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    images = []
    for line in lines[::2]:  # each second line holds the features, and may be empty
        if line.strip():
            fields = line.split(maxsplit=9)
            pose = np.array(fields[1:8], np.float64)
            images.append(ColmapImage(fields[9].strip(), cameras[int(fields[8])], _camera_to_world(pose)))
    return images


def _read_binary(cameras_file: Path, images_file: Path) -> list[ColmapImage]:
    data, cameras = cameras_file.read_bytes(), {}
    offset = 8
    for _ in range(struct.unpack_from("<Q", data)[0]):
        number, kind, width, height = _CAMERA.unpack_from(data, offset)
        if not 0 <= kind < len(_NUMBERED):
            raise ValueError(f"camera model number {kind} is not known here")
        model = _NUMBERED[kind]
        parameters = struct.unpack_from(f"<{_PARAMETERS[model]}d", data, offset + _CAMERA.size)
        cameras[number] = _camera(model, width, height, parameters)
        offset += _CAMERA.size + 8 * len(parameters)
    data, images, offset = images_file.read_bytes(), [], 8
    for _ in range(struct.unpack_from("<Q", data)[0]):
        _, *pose, camera = _IMAGE.unpack_from(data, offset)
        start = offset + _IMAGE.size
        end = data.index(b"\0", start)
        images.append(ColmapImage(data[start:end].decode("utf-8"), cameras[camera], _camera_to_world(np.array(pose))))
        offset = end + 9 + _FEATURE_BYTES * struct.unpack_from("<Q", data, end + 1)[0]
    if offset > len(data):
        raise ValueError(f"{images_file.name} ends early")
    return images


def _camera(model: str, width: int, height: int, parameters: tuple[float, ...]) -> ColmapCamera:
    if model not in _PARAMETERS:
        raise ValueError(f"camera model {model} is not one of {', '.join(_PARAMETERS)}")
    if len(parameters) != _PARAMETERS[model]:
        raise ValueError(f"camera model {model} has {_PARAMETERS[model]} parameters, found {len(parameters)}")
    return ColmapCamera(model, (height, width), parameters)


def _camera_to_world(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """From COLMAP's world-to-camera quaternion (w, x, y, z) and translation, (7,)."""
    result = np.eye(4)
    quaternion = np.roll(pose[:4], -1)
    if not np.isfinite(pose).all() or not quaternion.any():
        return np.full((4, 4), np.nan)
    result[:3, :3] = Rotation.from_quat(quaternion).inv().as_matrix()
    result[:3, 3] = -result[:3, :3] @ pose[4:]
    return result


def opencv_camera(camera: ColmapCamera) -> tuple[Matrix, NDArray[np.float64], bool]:
    """Intrinsics (3, 3) with pixel centres at integers, OpenCV's distortion coefficients, and whether it is fisheye."""
    values = camera.parameters
    if camera.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        values = (values[0], *values)  # one focal length for both axes
    fx, fy, cx, cy, *distortion = values
    intrinsics = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    return intrinsics, np.array([*distortion, *[0.0] * (4 - len(distortion))]), camera.model == "OPENCV_FISHEYE"


def undistortion(camera: ColmapCamera) -> Rectification:
    """To a pinhole image of the same size with the principal point in its middle.

    As in the preparation of ScanNet++ by Wang et al., "DUSt3R", CVPR 2024: fisheye images lose their borders (OpenCV's
    balance 0), images of other cameras keep all pixels (OpenCV's alpha 1). Where that looks beyond the image, the
    rectification says so (`seen`).
    """
    intrinsics, distortion, fisheye = opencv_camera(camera)
    height, width = camera.size
    shape = (width, height)
    if fisheye:
        ideal = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            intrinsics, distortion, shape, np.eye(3), balance=0.0
        )
        ideal[0, 2], ideal[1, 2] = (width - 1) / 2, (height - 1) / 2
        maps = cv2.fisheye.initUndistortRectifyMap(intrinsics, distortion, np.eye(3), ideal, shape, cv2.CV_32FC1)
    else:
        ideal, _ = cv2.getOptimalNewCameraMatrix(intrinsics, distortion, shape, 1, shape, centerPrincipalPoint=True)
        maps = cv2.initUndistortRectifyMap(intrinsics, distortion, np.eye(3), ideal, shape, cv2.CV_32FC1)
    return make_rectification(maps[0], maps[1], np.asarray(ideal, np.float64), camera.size)
