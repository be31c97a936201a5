"""True pointmaps at the pixels of the network's images, from depth and trajectory; cached on disk.

The cache stores depth instead of points, a third of the size; points are computed only for requested pixels.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.data.sources.preprocess import preprocess
from common.errors import InputError
from common.evaluation.runner import digest
from common.evaluation.sequence import RgbdSequence
from common.export.npy import NpyWriter
from common.files import atomic_folder, read_json, write_json

_DEPTH, _FACTS = "depth.npy", "truth.json"
_IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class SequenceTruth:
    """Known geometry of a sequence, at network resolution (h, w)."""

    depth: NDArray[np.float32]
    """(n, h, w) metres along z, 0 invalid; memory-mapped."""
    rows: NDArray[np.int64]
    """(h,) row of the stored image whose pixel is the nearest to each network row."""
    columns: NDArray[np.int64]
    """(w,) the same for columns."""
    camera_to_world: NDArray[np.float64]
    """(n, 4, 4), metres."""
    intrinsics: NDArray[np.float64]
    """(n, 3, 3), pixels of the stored images."""

    def points(self, frames: NDArray[np.int64], pixels: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N, 3) world points of pixels given by frame (N,) and flat position in the network image (N,), metres.

        Each goes along the ray of the stored pixel that its depth was taken from, so that no rounding enters.
        """
        width = self.depth.shape[2]
        y, x = self.rows[pixels // width], self.columns[pixels % width]
        depth = self.depth.reshape(len(self.depth), -1)[frames, pixels].astype(np.float64)
        matrix = self.intrinsics[frames]
        ray_y = (y - matrix[:, 1, 2]) / matrix[:, 1, 1]
        ray_x = (x - matrix[:, 0, 2] - matrix[:, 0, 1] * ray_y) / matrix[:, 0, 0]
        camera = np.stack([ray_x, ray_y, np.ones(len(depth))], axis=1) * depth[:, None]
        poses = self.camera_to_world[frames]
        return np.einsum("nij,nj->ni", poses[:, :3, :3], camera) + poses[:, :3, 3]


def load_truth(sequence: RgbdSequence, size: tuple[int, int], folder: Path) -> SequenceTruth:
    """Load the truth of a sequence at network resolution (height, width) from a cache folder, filled if needed.

    Frames are resized and cropped as `common.data.sources.preprocess.preprocess` does it with the pictures; depth takes
    the nearest pixel, since between two surfaces there is none.

    Raises:
        DataError: a depth image is missing or damaged.
        InputError: depth images differ in size.
    """
    facts = {
        "numbers": sequence.numbers.tolist(),
        "size": list(size),
        "camera_to_world": sequence.camera_to_world.tolist(),
        "intrinsics": sequence.intrinsics.tolist(),
    }
    key = {"key": digest(facts)}
    shape = sequence.depth(0).shape
    rows, columns = _nearest_pixels((shape[0], shape[1]), size)

    def network_depth(index: int) -> NDArray[np.float32]:
        depth = sequence.depth(index)
        if depth.shape != shape:
            raise InputError(f"{sequence.name}: depth of frame {sequence.numbers[index]} is {depth.shape}, not {shape}")
        return np.nan_to_num(depth[rows[:, None], columns], nan=0, posinf=0, neginf=0)

    if not _is_cached(folder, key):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder) as temporary:
            writer = NpyWriter(temporary / _DEPTH, size, np.float32)
            with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoding is most of it
                for start in range(0, sequence.length, _IMAGES_AT_ONCE):
                    chunk = range(start, min(start + _IMAGES_AT_ONCE, sequence.length))
                    writer.append(np.stack(list(threads.map(network_depth, chunk))))
            writer.close()
            write_json(temporary / _FACTS, key)
    depth = np.load(folder / _DEPTH, mmap_mode="r")
    return SequenceTruth(depth, rows, columns, sequence.camera_to_world, sequence.intrinsics)


def _is_cached(folder: Path, key: dict[str, str]) -> bool:
    try:
        return read_json(folder / _FACTS) == key and (folder / _DEPTH).is_file()
    except (OSError, ValueError):
        return False


def _nearest_pixels(original: tuple[int, int], size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (h,) and columns (w,) of the original image under the centres of the network's pixels."""
    affine = preprocess(np.zeros((*original, 3), np.uint8), size).original_from_network.numpy()
    rows = np.rint(affine[1, 1] * np.arange(size[0]) + affine[1, 2]).astype(np.int64)
    columns = np.rint(affine[0, 0] * np.arange(size[1]) + affine[0, 2]).astype(np.int64)
    return rows.clip(0, original[0] - 1), columns.clip(0, original[1] - 1)
