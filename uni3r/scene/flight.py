"""Camera path for films: a smooth path along the input cameras and back."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

from common.geometry.transforms import make_transform
from common.views import Cameras
from uni3r.scene.settings import FlightSettings


def flight(cameras: Cameras, depth: float, settings: FlightSettings) -> Cameras:
    """Cameras (frames,) of a flight from the first of (V,) cameras to the last and back, eased at both ends.

    Poses lie on splines through the given ones, intrinsics between their neighbours. The last frame leads back to the
    first, so the film can be looped.

    Args:
        cameras: (V,), V >= 1, in the order of the path.
        depth: median depth of the scene, for the size of the sway.
        settings: see `FlightSettings`.
    """
    phase = np.arange(settings.frames) / max(1, settings.frames)
    place = (1 - np.cos(2 * math.pi * phase)) / 2 * (len(cameras.camera_to_world) - 1)
    poses = cameras.camera_to_world.detach().cpu().double().numpy()
    positions, rotations = _interpolate(poses, place)
    angle = 2 * math.pi * settings.circles * phase
    # Starts and ends on the path: a circle through it.
    offset = np.stack([np.sin(angle), 1 - np.cos(angle), np.zeros_like(angle)], axis=-1) * settings.sway * depth
    positions = positions + np.einsum("nij,nj->ni", rotations, offset)
    return _cameras(cameras, place, positions, rotations)


def between(cameras: Cameras, place: np.ndarray) -> Cameras:
    """Cameras (N,) at places (N,) along (V,) cameras: 0 is the first, 0.5 is half way to the second."""
    poses = cameras.camera_to_world.detach().cpu().double().numpy()
    return _cameras(cameras, place, *_interpolate(poses, place))


def enlarged(cameras: Cameras, factor: int) -> Cameras:
    """Cameras of images enlarged by a factor (pixel centres at integers)."""
    intrinsics = cameras.intrinsics.clone()
    intrinsics[..., :2, :] *= factor
    intrinsics[..., :2, 2] += (factor - 1) / 2
    return Cameras(cameras.camera_to_world, intrinsics)


def _cameras(given: Cameras, place: np.ndarray, positions: np.ndarray, rotations: np.ndarray) -> Cameras:
    """Poses with the intrinsics between those of their neighbours."""
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(given.camera_to_world) - 1)
    share = torch.from_numpy(place - low).to(given.intrinsics)[:, None, None]
    intrinsics = torch.lerp(given.intrinsics[low], given.intrinsics[high], share)
    path = make_transform(torch.from_numpy(rotations), torch.from_numpy(positions))
    return Cameras(path.to(given.camera_to_world), intrinsics)


def _interpolate(poses: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) and rotations (N, 3, 3) at places (N,) in [0, V - 1] along (V, 4, 4) poses."""
    if len(poses) == 1:
        return np.repeat(poses[:, :3, 3], len(place), axis=0), np.repeat(poses[:, :3, :3], len(place), axis=0)
    times = np.arange(len(poses), dtype=float)
    # Natural ends: no swing beyond the first and the last camera.
    positions = CubicSpline(times, poses[:, :3, 3], bc_type="natural")(place)
    rotations = RotationSpline(times, Rotation.from_matrix(poses[:, :3, :3]))(place).as_matrix()
    return positions, rotations
