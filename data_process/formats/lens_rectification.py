"""Undistorted pinhole images of the lenses that data sets use, as the recipes of DUSt3R make them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from common.geometry.lens import Lens
from data_process.formats.rectify import Matrix, Rectification, make_rectification

_OPENCV_MODELS = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE")


def opencv_camera(lens: Lens) -> tuple[Matrix, NDArray[np.float64], bool]:
    """Intrinsics (3, 3) with pixel centres at integers, OpenCV's distortion coefficients, and whether it is fisheye.

    Raises:
        ValueError: OpenCV does not know the model.
    """
    if lens.model not in _OPENCV_MODELS:
        raise ValueError(f"camera model {lens.model} is not one of {', '.join(_OPENCV_MODELS)}")
    values = lens.parameters
    if lens.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        values = (values[0], *values)  # one focal length for both axes
    distortion = values[4:]
    return lens.matrix, np.array([*distortion, *[0.0] * (4 - len(distortion))]), lens.model == "OPENCV_FISHEYE"


def undistortion(lens: Lens) -> Rectification:
    """Rectification to a pinhole image of the same size with the principal point in its middle.

    As in the preparation of ScanNet++ by Wang et al., "DUSt3R", CVPR 2024: fisheye images lose their borders (OpenCV's
    balance 0), images of other cameras keep all pixels (OpenCV's alpha 1). Pixels outside the image
    are marked in `seen`.
    """
    intrinsics, distortion, fisheye = opencv_camera(lens)
    height, width = lens.size
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
    return make_rectification(maps[0], maps[1], np.asarray(ideal, np.float64), lens.size)
