"""Replica (Straub et al., 2019) as rendered for iMAP and NICE-SLAM, to the processed layout.

    python -m data_process.replica raw=DIR output=DIR [key=value ...]

Depth is stored at 6553.5 units per metre, as in the release, so that none is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from common.checkpoints.atomic import read_json
from common.configuration import ConfigurationError, to_dataclass
from common.launch import clear_errors, launch
from data_process.command import run
from data_process.frame_files import metres, read_color, read_plane
from data_process.manifest import DatasetInfo
from data_process.runner import ProcessSettings
from data_process.scene_writer import SceneError, SceneWriter


@dataclass(frozen=True, kw_only=True)
class ReplicaSettings(ProcessSettings):
    """configs/process/replica.yaml"""

    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")


@dataclass(frozen=True)
class ReplicaScene:
    """A room: a folder with traj.txt and results/, and the camera of all rooms."""

    name: str
    folder: Path
    focal: tuple[float, float]
    principal_point: tuple[float, float]
    depth_scale: float


def find_scenes(settings: ReplicaSettings) -> list[ReplicaScene]:
    """All rooms below the raw folder, with the camera of cam_params.json.

    Raises:
        ConfigurationError: cam_params.json is missing or incomplete.
    """
    raw = settings.raw_folder()
    path = raw / "cam_params.json"
    try:
        camera: Mapping[str, Any] = read_json(path)["camera"]
        focal, centre = (float(camera["fx"]), float(camera["fy"])), (float(camera["cx"]), float(camera["cy"]))
        scale = float(camera["scale"])
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; it comes with the rooms") from None
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(f"{path}: expected camera: fx, fy, cx, cy, scale") from None
    return [
        ReplicaScene(trajectory.parent.name, trajectory.parent, focal, centre, scale)
        for trajectory in sorted(raw.glob("*/traj.txt"))
    ]


def convert(scene: ReplicaScene, writer: SceneWriter, settings: ReplicaSettings) -> None:
    """Add the frames of a room. Line k of traj.txt is the camera-to-world pose of frame k, OpenCV axes."""
    writer.depth_scale = scene.depth_scale
    writer.attributes |= {"number_step": settings.every}
    poses = _read_trajectory(scene.folder / "traj.txt")
    intrinsics = np.eye(3)
    intrinsics[[0, 1], [0, 1]], intrinsics[:2, 2] = scene.focal, scene.principal_point
    results = scene.folder / "results"
    images = {int(path.stem[5:]): path for path in results.glob("frame*.*") if path.stem[5:].isdecimal()}
    for number in range(0, max(len(poses), *(number + 1 for number in images), 0), settings.every):
        with writer.dropping(number):
            if number >= len(poses):
                writer.drop(number, "no pose")
                continue
            image = read_color(images.get(number, results / f"frame{number:06d}.jpg"))
            depth = metres(read_plane(results / f"depth{number:06d}.png", "depth image"), scene.depth_scale)
            writer.add(number, image, depth, poses[number], intrinsics)


def _read_trajectory(path: Path) -> NDArray[np.float64]:
    """(N, 4, 4) camera-to-world poses."""
    try:
        return np.loadtxt(path, ndmin=2).reshape(-1, 4, 4)
    except ValueError as error:
        raise SceneError(f"{path}: expected 16 numbers on every line ({error})") from error


@hydra.main(version_base="1.3", config_path="../configs", config_name="process/replica")
@clear_errors
def main(config: DictConfig) -> None:
    """Convert, or verify."""
    settings = to_dataclass(config, ReplicaSettings)
    dataset = DatasetInfo(
        "replica",
        licence="Replica Dataset research terms (non-commercial)",
        settings=settings.own(),
        jpeg_quality=settings.jpeg_quality,
    )
    run(dataset, partial(find_scenes, settings), partial(convert, settings=settings), settings)


if __name__ == "__main__":
    launch(main)
