"""Depth maps in the pixels of the original pictures, as 16-bit PNG files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from common.files import atomic_path, write_json
from common.refinement.outcome import Refinement
from common.refinement.types import Picture
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene_data import SceneData
from slam3r.scene.settings import ExportSettings

SCALE_FILE = "scale.json"
_LARGEST = 65535


def write_depth_maps(
    folder: Path, scene: SceneData, held: RefinementInput, refinement: Refinement | None, export: ExportSettings
) -> None:
    """Write ``000000.png`` ... (number of the frame in the input), and ``scale.json``.

    A pixel holds the depth along the optical axis over ``unit_per_step`` of ``scale.json``; 0 is no depth: outside of
    what the network saw, without a valid point, or (refined, unless ``export.unconfirmed``) not confirmed by others.

    Args:
        folder: exists.
        scene: of the run.
        held: all its frames.
        refinement: of the run; the network's depths are written where it is None or kept them.
        export: whether unconfirmed depths are written too.
    """
    positions = {index: position for position, index in enumerate(held.frames)}
    maps = list(_network_maps(held, refinement, export))
    highest = max((float(depth[known].max()) for depth, known in maps if known.any()), default=1.0)
    unit = highest / _LARGEST
    pictures = held.pictures()
    for frame in scene.frames:
        position = positions.get(frame.index)
        if position is None or frame.camera_to_world is None:
            continue
        depth = to_original(*maps[position], pictures[position])
        steps = np.where(depth > 0, np.clip(np.round(depth / unit), 1, _LARGEST), 0).astype(np.uint16)
        with atomic_path(folder / f"{frame.number:06d}.png") as temporary:
            if not cv2.imwrite(str(temporary), steps):
                raise OSError(f"cannot write {folder / f'{frame.number:06d}.png'}")
    write_json(folder / SCALE_FILE, {"unit_per_step": unit})


def to_original(depth: NDArray[np.float32], known: NDArray[np.bool_], picture: Picture) -> NDArray[np.float32]:
    """Depth (H, W) of network pixels in the pixels of the original picture; 0 where nothing is known."""
    height, width = picture.original_size
    y, x = height / picture.size[0], width / picture.size[1]
    original_from_working = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])
    map_to = original_from_working @ np.linalg.inv(picture.network_from_working.double().numpy())
    warped, weight = (
        cv2.warpAffine(values.astype(np.float32), map_to[:2], (width, height), flags=cv2.INTER_LINEAR)
        for values in (np.where(known, depth, 0), known)
    )
    return np.where(weight > 0.5, warped / np.maximum(weight, 0.5), 0).astype(np.float32)


def _network_maps(
    held: RefinementInput, refinement: Refinement | None, export: ExportSettings
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Depth and where it is to be written, for each frame, in network pixels."""
    prediction = held.prediction()
    for position in range(len(prediction)):
        if refinement is None or refinement.depth is None:
            yield prediction.depth[position].numpy(), prediction.valid[position].numpy()
            continue
        depth, confirmed = refinement.depth.depth[position].numpy(), refinement.depth.confirmed[position].numpy()
        yield depth, np.isfinite(depth) & (depth > 0) if export.unconfirmed else confirmed
