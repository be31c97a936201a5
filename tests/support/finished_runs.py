"""Result folders of small refined runs of a procedural room, with their truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from common.geometry.alignment import umeyama
from common.refinement.settings import Mode, RefinementSettings
from slam3r.scene.outputs import write_results
from slam3r.scene.refined import finish_scene, hold_input
from slam3r.scene.scene import Scene
from slam3r.scene.settings import ExportSettings
from tests.support.filmed_room import FilmedRoom
from tests.support.refined_scene import gather, reconstructed


def write_pictures(room: FilmedRoom, folder: Path) -> list[Path]:
    """The pictures of a film as PNG files, by their names in the film."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{Path(picture.name).stem}.png" for picture in room.pictures]
    for picture, file in zip(room.pictures, files):
        assert cv2.imwrite(str(file), picture.image.permute(1, 2, 0).numpy()[..., ::-1])
    return files


def write_run(room: FilmedRoom, folder: Path, mode: Mode = "cameras", **export: object) -> Scene:
    """Refine a film as a run does, and write it to ``folder``, its pictures beside it."""
    files = write_pictures(room, folder.with_name(f"{folder.name}_photos"))
    settings, wanted = RefinementSettings(mode=mode), ExportSettings(confidence=2.0, preview=False, **export)  # type: ignore[arg-type]
    held = hold_input(settings)
    assert held is not None
    gather(room, held)
    scene = reconstructed(room)
    scene.frames = [replace(frame, name=file.name, file=file) for frame, file in zip(scene.frames, files)]
    scene.model = {"name": "slam3r_tiny"}
    finish_scene(scene, held, settings, wanted, progress=False)
    write_results(scene, folder, wanted)
    return scene


def to_truth(poses: NDArray[np.float64], truth: torch.Tensor) -> tuple[NDArray[np.float64], float]:
    """(4, 4) similarity from a world, with cameras at (N, 4, 4) poses, to the true one; its scale."""
    transform = umeyama(torch.from_numpy(poses[:, :3, 3]), truth[:, :3, 3].double()).numpy()
    scale = float(np.cbrt(np.linalg.det(transform[:3, :3])))
    turns = truth[:, :3, :3].double().numpy() @ poses[:, :3, :3].swapaxes(1, 2)  # a path alone hardly fixes the turn
    transform[:3, :3] = scale * Rotation.from_matrix(turns).mean().as_matrix()
    transform[:3, 3] = (truth[:, :3, 3].double().numpy() - poses[:, :3, 3] @ transform[:3, :3].T).mean(axis=0)
    return transform, scale


def pose_errors(
    pose: NDArray[np.float64], truth: NDArray[np.float64], transform: NDArray[np.float64]
) -> tuple[float, float]:
    """Distance in the true unit and angle in degrees between a pose, moved by a similarity, and the true one."""
    scale = float(np.cbrt(np.linalg.det(transform[:3, :3])))
    centre = transform[:3, :3] @ pose[:3, 3] + transform[:3, 3]
    turn = (transform[:3, :3] / scale @ pose[:3, :3]).T @ truth[:3, :3]
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    return float(np.linalg.norm(centre - truth[:3, 3])), float(angle)
