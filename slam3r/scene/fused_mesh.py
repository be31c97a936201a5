"""A mesh of a scene: the depth maps of all frames, fused along their poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from common.export.depth_fusion import DepthFusion, empty_mesh
from common.export.mesh import Mesh
from common.refinement.outcome import Refinement
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene_data import SceneData
from slam3r.scene.settings import ExportSettings

_VOXELS_PER_DEPTH = 128
"""Voxels along the median depth: 2 cm at 2.5 m."""
_TRUNCATION = 4.0
"""Voxels."""
_FARTHEST = 0.99
"""Share of the depths that are fused: the farthest are the least certain, and would make most voxels."""
_FRAMES_ASKED = 1.5
"""Weight of a refined surface, at least: more than one frame must have seen it."""


def fuse_scene(scene: SceneData, held: RefinementInput, refinement: Refinement | None, export: ExportSettings) -> Mesh:
    """Fuse the depth maps of a scene by truncated signed distances.

    Of a refined scene these are the confirmed depths (all with ``export.unconfirmed``) on the adjusted poses; of any
    other the network's, where its confidence is above the threshold of the scene's points.

    Args:
        scene: of the run, with its final poses.
        held: all its frames.
        refinement: of the run; None where nothing was refined.
        export: whether unconfirmed depths count too.

    Returns:
        A mesh in world coordinates; without triangles where there is no depth.
    """
    if refinement is not None and refinement.depth is not None:
        return fuse_frames(refinement, lambda row: held.colors(held.frames[row]), export.unconfirmed)
    word, poses = held.prediction(), {frame.index: frame.camera_to_world for frame in scene.frames}
    views = []
    for row, index in enumerate(held.frames):
        pose, usable = poses.get(index), word.valid[row] & (word.confidence[row] > scene.threshold)
        if pose is not None:
            depth = torch.where(usable, word.depth[row], 0).numpy()
            views.append(_View(depth, index, pose, scene.network_intrinsics))
    return _fuse(views, held.colors, 0.5)


def fuse_frames(refinement: Refinement, colors: Callable[[int], NDArray[np.uint8]], unconfirmed: bool = False) -> Mesh:
    """Fuse the depth maps of a refinement that won.

    Args:
        refinement: with cameras and depth.
        colors: (H, W, 3) RGB of the network image of each of its frames.
        unconfirmed: fuse depths that no other view confirms as well.
    """
    assert refinement.cameras is not None and refinement.depth is not None
    views = []
    for row, picture in enumerate(refinement.pictures):
        pose = refinement.cameras.placed[row].double().numpy()
        if not np.isfinite(pose).all():
            continue
        depth, confirmed = refinement.depth.depth[row], refinement.depth.confirmed[row]
        usable = torch.isfinite(depth) & (depth > 0) if unconfirmed else confirmed
        camera = refinement.cameras.cameras[picture.camera]
        matrix = picture.network_from_working.double().numpy() @ camera.matrix.numpy()
        views.append(_View(torch.where(usable, depth, 0).numpy(), row, pose, matrix, camera.k1))
    return _fuse(views, colors, min(_FRAMES_ASKED, max(0.5, len(views) - 0.5)))


@dataclass(frozen=True)
class _View:
    depth: NDArray[np.float32]
    """(H, W), 0 where there is none."""
    row: int
    """Asked for its colours."""
    camera_to_world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    radial_distortion: float = 0.0


def _fuse(views: Sequence[_View], colors: Callable[[int], NDArray[np.uint8]], min_weight: float) -> Mesh:
    samples = [view.depth[view.depth > 0][::7] for view in views]
    depths = np.concatenate([np.empty(0, np.float32), *samples])
    if not len(depths):
        return Mesh(**empty_mesh())
    voxel = float(np.median(depths)) / _VOXELS_PER_DEPTH
    fusion = DepthFusion(voxel, _TRUNCATION * voxel, float(np.quantile(depths, _FARTHEST)) + voxel)
    for view in views:
        depth, shades, k1 = view.depth, colors(view.row), view.radial_distortion
        if k1:
            depth, shades = (_undistorted(values, view.intrinsics, k1) for values in (depth, shades))
        fusion.add(depth, shades, view.camera_to_world, view.intrinsics)
    return Mesh(**fusion.mesh(min_weight))


def _undistorted(values: NDArray, intrinsics: NDArray[np.float64], k1: float) -> NDArray:
    """Picture of a pinhole camera with the same intrinsics, by nearest pixels: a mean of two depths is neither."""
    height, width = values.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    u, v = (x - cx) / fx, (y - cy) / fy
    radial = 1 + k1 * (u * u + v * v)
    maps = (fx * u * radial + cx).astype(np.float32), (fy * v * radial + cy).astype(np.float32)
    return cv2.remap(values, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
