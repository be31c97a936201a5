"""Structure from motion by pycolmap alone on the same images, for comparison."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from common.data.sources.frame_source import Frame
from common.errors import InputError
from common.export.result_folder import write_image
from common.geometry.colmap_backend import pycolmap_module
from common.refinement.matching.backend import silence

Peer = Literal["pycolmap_incremental", "pycolmap_global"]
PEERS: tuple[Peer, ...] = ("pycolmap_incremental", "pycolmap_global")


@dataclass(frozen=True)
class PeerRun:
    """Cameras estimated by another method."""

    camera_to_world: NDArray[np.float64]
    """(n, 4, 4), OpenCV axes, arbitrary unit; NaN for frames without a pose."""
    focal: float
    """Focal length of the camera of most frames, pixels."""
    seconds: float


def run_peer(peer: Peer, frames: Iterable[Frame]) -> PeerRun:
    """Extract, match all pairs and map with pycolmap's defaults (SIFT on the CPU, one camera).

    Raises:
        InputError: no model was found.
        BackendMissingError: pycolmap is not installed.
    """
    with tempfile.TemporaryDirectory() as name, silence():
        folder = Path(name)
        pictures = folder / "pictures"
        pictures.mkdir()
        count = 0
        for count, frame in enumerate(frames, start=1):
            write_image(pictures / f"{count - 1:06d}.png", frame.image)
        start = time.perf_counter()
        model = _map(peer, folder, pictures)
        seconds = time.perf_counter() - start
    poses = np.full((count, 4, 4), np.nan)
    for image in model.images.values():
        if image.has_pose:
            pose = np.eye(4)
            pose[:3] = image.cam_from_world().inverse().matrix()
            poses[int(Path(image.name).stem)] = pose
    return PeerRun(poses, float(next(iter(model.cameras.values())).mean_focal_length()), seconds)


def _map(peer: Peer, folder: Path, pictures: Path) -> Any:
    """The largest model."""
    pycolmap = pycolmap_module()
    database, output = folder / "database.db", folder / "models"
    output.mkdir()
    pycolmap.extract_features(database, pictures, camera_mode=pycolmap.CameraMode.SINGLE, device=pycolmap.Device.cpu)
    pycolmap.match_exhaustive(database, device=pycolmap.Device.cpu)
    if peer == "pycolmap_incremental":
        models = pycolmap.incremental_mapping(os.fspath(database), os.fspath(pictures), os.fspath(output))
    else:
        pycolmap.calibrate_view_graph(database)
        models = pycolmap.global_mapping(os.fspath(database), os.fspath(pictures), os.fspath(output))
    if not models:
        raise InputError(f"{peer} found no model")
    return max(models.values(), key=lambda model: model.num_reg_images())
