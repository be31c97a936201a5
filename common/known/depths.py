"""Measured depths: a folder of maps, sparse or dense, of any size that covers the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from common.data.sources.frame_source import Frame
from common.errors import InputError
from common.geometry.cameras import pixel_grid
from common.known.folders import FilesByName

SUFFIXES = (".png", ".tif", ".tiff", ".npy")
_MILLIMETRES, _NOTHING = 1e-3, 65535
_SENSIBLE = (0.02, 500.0)
"""Metres within which the median depth of a map lies; outside, its unit is another one."""
_LARGEST = 1 << 26
"""Values of a map."""
_ASPECT = 0.02


class Depths(Protocol):
    """Measured depths by picture; `DepthFolder` has them in files."""

    def find(self, frame: Frame) -> NDArray[np.float32] | None:
        """(h, w) metres along the optical axis, covering the frame's view, 0 where nothing was measured; or None."""

    def require_any(self, names: Sequence[str]) -> None:
        """Raise an InputError where none of the named pictures has a depth map."""


class DepthFolder:
    """Depth maps by the names of their pictures.

    A map covers the same view as its picture at any resolution, along the optical axis: 16-bit PNG or TIFF, or whole
    numbers in .npy, in millimetres (0 and 65535: nothing measured); floats in TIFF or .npy in metres.

    Args:
        folder: of the maps.
        unit: of whole numbers, metres; None for millimetres.
    """

    def __init__(self, folder: str | Path, unit: float | None = None) -> None:
        files = FilesByName(folder, SUFFIXES, "depths")
        self._files, self.require_any = files, files.require_any
        self._unit = _MILLIMETRES if unit is None else unit

    def find(self, frame: Frame) -> NDArray[np.float32] | None:
        """(h, w) metres, 0 where nothing was measured; None for a picture without a map.

        Raises:
            InputError: the map cannot be read, is of another shape than the picture, or in another unit.
        """
        path = self._files.find(frame)
        if path is None:
            return None
        depth = read_depth(path, self._unit)
        check_shape(path, depth.shape, frame.image.shape[:2])
        known = depth[depth > 0]
        if len(known) and not _SENSIBLE[0] < float(np.median(known)) < _SENSIBLE[1]:
            median = float(np.median(known))
            raise InputError(f"{path}: its median depth would be {median:.3g} m; known.depth_unit says what a step is")
        return depth


def read_depth(path: Path, unit: float) -> NDArray[np.float32]:
    """(h, w) metres of a file, 0 where nothing was measured; `unit` is that of whole numbers, metres.

    Raises:
        InputError: it cannot be read, or is no map of numbers.
    """
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            if values.size > _LARGEST:
                raise ValueError(f"{values.size} values")
            values = np.array(values)
        else:
            with Image.open(path) as image:
                if image.width * image.height > _LARGEST:
                    raise ValueError(f"{image.width} x {image.height} pixels")
                if image.mode not in ("I", "I;16", "I;16B", "I;16L", "F"):
                    raise ValueError(f"expected 16 bits or floats, it is an image of kind {image.mode}")
                values = np.array(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a depth map: {error}") from error
    values = values.squeeze()
    if values.ndim != 2 or values.dtype.kind not in "uif" or 0 in values.shape:
        raise InputError(f"{path}: expected a map (h, w) of numbers, got {values.shape} of {values.dtype}")
    whole = values.dtype.kind in "ui"
    metres = values.astype(np.float32) * np.float32(unit if whole else 1)
    known = np.isfinite(metres) & (metres > 0) & ((values != _NOTHING) if whole else True)
    return np.where(known, metres, 0).astype(np.float32)


def check_shape(path: Path, shape: tuple[int, ...], picture: tuple[int, ...]) -> None:
    """Raise an InputError where a map (h, w) cannot cover the view of a picture (h, w): it has another shape."""
    if abs(shape[0] * picture[1] / (shape[1] * picture[0]) - 1) > _ASPECT:
        raise InputError(
            f"{path}: {shape[1]} x {shape[0]} pixels do not cover a picture of {picture[1]} x {picture[0]}: "
            "the shape differs (cropped, or turned)"
        )


def to_grid(
    depth: NDArray[np.float32], picture: tuple[int, int], original_from_network: Tensor, size: tuple[int, int]
) -> Tensor:
    """Depths on the network's grid.

    Every pixel takes the measurement nearest to its centre, if one lies within it or, for maps coarser than the grid,
    covers it.

    Args:
        depth: (h, w), 0 where nothing was measured.
        picture: (height, width) of the picture whose view the map covers.
        original_from_network: (3, 3) affine from network pixels to the picture's.
        size: (H, W) of the grid.

    Returns:
        (H, W) float32 tensor, 0 where nothing was measured.
    """
    rows, columns = depth.shape
    result = torch.from_numpy(covering_values(depth, picture, original_from_network, size).copy())
    y, x = np.nonzero(depth)
    original = (np.stack([x, y], axis=1) + 0.5) * [picture[1] / columns, picture[0] / rows] - 0.5
    affine = np.linalg.inv(original_from_network.double().numpy())
    network = original @ affine[:2, :2].T + affine[:2, 2]
    pixel = np.rint(network).astype(np.int64)
    inside = ((pixel >= 0) & (pixel < [size[1], size[0]])).all(axis=1)
    order = np.flatnonzero(inside)
    order = order[np.argsort(-np.square(network - pixel)[order].sum(axis=1), kind="stable")]  # the nearest is last
    result[pixel[order, 1], pixel[order, 0]] = torch.from_numpy(depth[y[order], x[order]])
    return result


def covering_values(
    values: NDArray, picture: tuple[int, int], original_from_network: Tensor, size: tuple[int, int]
) -> NDArray:
    """(H, W) value of a map (h, w) at the centre of each pixel of the network's grid; arguments as for `to_grid`."""
    rows, columns = values.shape
    grid = pixel_grid(size, dtype=torch.float64).numpy()
    affine = original_from_network.double().numpy()
    original = grid @ affine[:2, :2].T + affine[:2, 2]
    place = (original + 0.5) * [columns / picture[1], rows / picture[0]] - 0.5
    x, y = np.rint(place[..., 0]).astype(np.int64), np.rint(place[..., 1]).astype(np.int64)
    return values[y.clip(0, rows - 1), x.clip(0, columns - 1)]


def resized_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> Tensor:
    """(height, width) bool tensor of a mask at another size: a pixel is used where its centre is."""
    resized = cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return torch.from_numpy(resized > 0)
