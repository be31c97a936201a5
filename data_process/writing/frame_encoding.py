"""A frame as it is stored: pose and intrinsics that were checked, and the bytes of its images."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from data_process.errors import BadFrameError

_RIGID_TOLERANCE = 1e-2
_EXIF_ORIENTATION = 0x0112


def checked_pose(camera_to_world: ArrayLike) -> NDArray[np.float64]:
    """(4, 4) camera-to-world pose; raises a BadFrameError where it is no rigid motion."""
    pose = np.asarray(camera_to_world, np.float64)
    if pose.shape != (4, 4):
        raise ValueError(f"a pose is a 4 x 4 matrix, not of shape {pose.shape}")
    if not np.isfinite(pose).all():
        raise BadFrameError("pose is not finite")
    rotation = pose[:3, :3]
    orthonormal = np.abs(rotation @ rotation.T - np.eye(3)).max() < _RIGID_TOLERANCE
    if not orthonormal or np.linalg.det(rotation) < 0 or np.abs(pose[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise BadFrameError("pose is not a rotation and a translation")
    return pose


def checked_intrinsics(intrinsics: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) intrinsics; raises a BadFrameError where they are not finite and positive."""
    camera = np.asarray(intrinsics, np.float64)
    if camera.shape != (3, 3):
        raise ValueError(f"intrinsics are a 3 x 3 matrix, not of shape {camera.shape}")
    if not np.isfinite(camera).all() or min(camera[0, 0], camera[1, 1]) <= 0:
        raise BadFrameError("intrinsics are not finite and positive")
    return camera


def encoded_color(image: NDArray | bytes, quality: int) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a JPEG file and its (height, width); raises a BadFrameError for a damaged one."""
    if isinstance(image, bytes):
        try:
            with Image.open(io.BytesIO(image)) as opened:
                opened.load()  # the only reliable check that the file is complete
                upright = opened.getexif().get(_EXIF_ORIENTATION, 1) == 1
                if opened.format == "JPEG" and opened.mode == "RGB" and upright:
                    return image, (opened.height, opened.width)
                image = np.asarray(opened.convert("RGB"))  # pixels keep their order: depth is not rotated by EXIF
        except Exception as error:  # Pillow's decoders raise many kinds of exception on damaged files
            raise BadFrameError(f"damaged color image ({error})") from error
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"a color image is (H, W, 3) uint8, not {image.shape} {image.dtype}")
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return encoded.tobytes(), (image.shape[0], image.shape[1])


def png(image: NDArray) -> bytes:
    """The bytes of a PNG file."""
    return cv2.imencode(".png", image)[1].tobytes()
