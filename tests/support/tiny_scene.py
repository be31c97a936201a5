"""Small stand-ins for the tests of the offline face: random networks, photographs, registered frames of a true room."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from common.data.sources.preprocess import denormalize
from common.geometry.cameras import unproject_to_world
from common.rooms import room_seed, room_video
from common.views import Views
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction import RegisteredFrame

SIZES = {"encoder_width": 32, "encoder_depth": 1, "encoder_heads": 1}
SIZES |= {"decoder_width": 32, "decoder_depth": 3, "decoder_heads": 1}


def tiny_models() -> tuple[ImageToPoints, LocalToWorld]:
    """Random networks; the same ones every time."""
    torch.manual_seed(7)
    return ImageToPoints(**SIZES), LocalToWorld(**SIZES)


def save_weights(folder: Path) -> Path:
    """`tiny_models` as a folder that stands for a model."""
    for name, model in zip(("image_to_points", "local_to_world"), tiny_models(), strict=True):
        model.save_pretrained(folder / name)
    return folder


@cache
def room(frames: int = 12, size: tuple[int, int] = (48, 64)) -> Views:
    """A walk through a procedural room."""
    return room_video(room_seed("held_out", 0, 5), frames, size)


def photos(folder: Path, frames: int = 12, sizes: tuple[tuple[int, int], ...] = ()) -> Path:
    """The pictures of the room as files; of varying (height, width) if so asked."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(denormalize(room(frames).images).numpy()):
        if sizes:
            height, width = sizes[i % len(sizes)]
            image = cv2.resize(image, (width, height))
        assert cv2.imwrite(str(folder / f"photo{i}.png"), image[..., ::-1])
    return folder


def registered_frames(frames: int = 12) -> list[RegisteredFrame]:
    """Frames as a perfect network would have registered them."""
    views = room(frames)
    points = unproject_to_world(views.depth, views.intrinsics, views.camera_to_world)
    confidence = 1 + 10 * torch.rand(views.depth.shape, generator=torch.Generator().manual_seed(0))
    return [
        RegisteredFrame(
            index=i,
            name=f"photo{i}.png",
            timestamp=i / 30,
            image=views.images[i],
            world_points=points[i],
            world_confidence=confidence[i],
            valid=views.depth[i] > 0,
            local_points=None if i == 0 else points[i],
            local_confidence=confidence[i],
            mean_confidence=float(confidence[i].mean()),
            local_mean_confidence=float(confidence[i].mean()),
            keyframe=i % 2 == 0,
            status="registered" if i != 3 else "low_confidence",
            camera_to_world=views.camera_to_world[i] if i != 5 else None,
            intrinsics=views.intrinsics[i],
            pose_inliers=1.0,
        )
        for i in range(frames)
    ]


def read_folder(folder: Path) -> list[np.ndarray]:
    """The photographs of a folder as RGB arrays."""
    files = sorted(folder.iterdir(), key=lambda file: int(file.stem.removeprefix("photo")))
    return [cv2.imread(str(file))[..., ::-1].copy() for file in files]
