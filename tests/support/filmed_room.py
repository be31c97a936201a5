"""A procedural room as refinement sees it: pictures, exact truth, and a prediction as wrong as a network's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from common.geometry.alignment import umeyama
from common.refinement.types import Picture, Prediction
from common.rooms import room_video
from common.views import Views

WORKING_PER_NETWORK = 2
"""Working pixels are half as large as the network's here."""


@dataclass(frozen=True)
class FilmedRoom:
    """A film and its truth."""

    pictures: list[Picture]
    prediction: Prediction
    camera_to_world: Tensor
    """(N, 4, 4) float64 truth."""
    depth: Tensor
    """(N, h, w) truth on working pixels."""
    focal: float
    """Truth, working pixels."""

    def part(self, frames: list[int]) -> FilmedRoom:
        """Some of the frames, in any order and as often as wanted."""
        prediction = self.prediction
        return FilmedRoom(
            [self.pictures[frame] for frame in frames],
            Prediction(
                prediction.depth[frames],
                prediction.valid[frames],
                prediction.confidence[frames],
                prediction.camera_to_world[frames],
                prediction.intrinsics,
            ),
            self.camera_to_world[frames],
            self.depth[frames],
            self.focal,
        )


def film(seed: int, frames: int = 12, size: tuple[int, int] = (240, 320)) -> FilmedRoom:
    """Film a room, and predict it badly: see `predict`."""
    views = room_video(seed, frames, size, step=0.12, turn=4.0)
    images = ((views.images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    pictures = [picture(image, name=f"{index}.jpg") for index, image in enumerate(images)]
    poses = views.camera_to_world.double()
    return FilmedRoom(pictures, predict(views, seed), poses, views.depth, float(views.intrinsics[0, 0, 0]))


def picture(image: Tensor, camera: int = 0, name: str = "") -> Picture:
    """A picture (3, h, w) of working size."""
    scale = 1 / WORKING_PER_NETWORK
    network_from_working = torch.tensor(
        [[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5], [0, 0, 1]], dtype=torch.float64
    )
    return Picture(image, (image.shape[-2], image.shape[-1]), camera, network_from_working, name)


def predict(views: Views, seed: int) -> Prediction:
    """Depths 5 % wrong in smooth patches and 10 % in a frame's scale, a path that bends, a focal length 15 % short."""
    rng = np.random.default_rng(seed)
    count = len(views.depth)
    step = WORKING_PER_NETWORK
    depth = views.depth[:, step // 2 :: step, step // 2 :: step].clone()
    patches = torch.from_numpy(rng.normal(0, 0.05, (count, 1, 4, 5)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(patches, depth.shape[1:], mode="bilinear", align_corners=True)[:, 0]
    frame_scale = torch.from_numpy(rng.normal(0, 0.1, (count, 1, 1)).astype(np.float32))
    valid = depth > 0
    poses = views.camera_to_world.double().numpy().copy()
    drift = np.cumsum(rng.normal(0, np.radians(1.0), (count, 3)), axis=0)
    poses[:, :3, :3] = Rotation.from_rotvec(drift).as_matrix() @ poses[:, :3, :3]
    poses[:, :3, 3] += np.cumsum(rng.normal(0, 0.03, (count, 3)), axis=0)
    height, width = depth.shape[1:]
    focal = 0.85 * float(views.intrinsics[0, 0, 0]) / step
    intrinsics = torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Prediction(
        depth * torch.exp(smooth + frame_scale),
        valid,
        torch.where(valid, 10.0, 1.0),
        torch.from_numpy(poses).float(),
        intrinsics,
    )


def path_error(poses: Tensor, truth: Tensor) -> float:
    """Root mean square distance of camera centres after a similarity, metres (ATE)."""
    centres, target = poses[:, :3, 3].double(), truth[:, :3, 3].double()
    transform = umeyama(centres, target)
    moved = centres @ transform[:3, :3].T + transform[:3, 3]
    return float((moved - target).norm(dim=1).square().mean().sqrt())


def relative_rotation_error(rotations: Tensor, truth: Tensor) -> float:
    """Median angle over neighbouring frames between their relative rotations (N, 3, 3) and the true ones, degrees."""
    relative, target = rotations[1:].mT @ rotations[:-1], truth[1:].mT @ truth[:-1]
    cosine = ((relative @ target.mT).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).median())
