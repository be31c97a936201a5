"""A miniature Uni3R, its photographs of a room, and what a video of that room truly is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import torch

from common.data.sources.preprocess import denormalize
from common.rooms import room_seed, room_sequence
from common.views import Cameras, Pointmaps, Views
from uni3r.models.description import SceneUnit
from uni3r.models.scene_unit import cameras_in_unit, context_points, scene_unit
from uni3r.models.uni3r import Uni3R

SIZES: dict[str, Any] = {
    "decoder": "multiview",
    "encoder_width": 32,
    "encoder_depth": 1,
    "encoder_heads": 1,
    "decoder_width": 32,
    "decoder_depth": 3,
    "decoder_heads": 1,
    "intrinsics": "add",
    "intrinsics_normalization": "per_axis",
    "point_head": "linear",
    "point_activation": "exp",
    "centres": "rays",
    "dpt_width": 8,
    "dpt_channels": (8, 8, 8, 8),
    "teacher_channels": 0,
    "attributes": {
        "feature_channels": 8,
        "sh_degree": 1,
        "scale": "softplus",
        "colour": "image",
        "depth_correction": True,
    },
}
SIZE = (32, 48)


def network(**changes: Any) -> Uni3R:
    """Random weights; the same ones every time."""
    torch.manual_seed(3)
    return Uni3R(**{**SIZES, **changes})


def room(frames: int = 3, number: int = 7) -> Views:
    """A walk through a procedural room."""
    return room_sequence(room_seed("held_out", 0, number), frames, SIZE, stride=2)


def photos(folder: Path, views: Views) -> Path:
    """Its pictures as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(denormalize(views.images).numpy()):
        assert cv2.imwrite(str(folder / f"photo{index}.png"), image[..., ::-1])
    return folder


def two_views() -> Views:
    """Two views (1, 2, ..) of a held-out procedural room, 64 x 64."""
    return room_sequence(room_seed("held_out", 0, 7), 2, (64, 64), stride=3)[None]


def true_scene(views: Views) -> tuple[Pointmaps, Cameras]:
    """Prediction of a perfect network, in its unit and in the frame of view 0."""
    unit = scene_unit(views, SceneUnit("points"))
    points, _ = context_points(views)
    confidence = torch.full(points.shape[:-1], 2.0)
    return Pointmaps(points / unit, confidence), cameras_in_unit(views, views.camera_to_world[:, 0], unit)
