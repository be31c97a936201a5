"""Correction of a predicted depth map by triangulated points: a bilinear grid of log depth ratios for each frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from common.refinement.dense.chunks import map_frames
from common.refinement.dense.filters import gaussian_filter
from common.refinement.dense.settings import REFERENCE_SIDE, DepthGridSettings
from common.refinement.types import RefinedCameras

_ROUNDS = 10
"""Reweighted least squares has settled after these."""


def correct_depth(
    depth: Tensor, valid: Tensor, refined: RefinedCameras, network_from_working: Tensor, settings: DepthGridSettings
) -> Tensor:
    """Bring predicted depth to the world's unit and onto the tracks.

    Args:
        depth: (N, H, W), each frame in its own unit.
        valid: (N, H, W) bool.
        refined: cameras with tracks.
        network_from_working: (N, 3, 3) maps of the pictures.
        settings: the grid's.

    Returns:
        (N, H, W) float32, positive everywhere. A frame without tracks or pose is scaled as a whole.
    """
    usable = valid & torch.isfinite(depth) & (depth > 0)
    logs = map_frames(fill_invalid, depth, usable)
    found = track_depth(refined, network_from_working, (depth.shape[-2], depth.shape[-1]))
    frames, pixels, track_depths = (part.to(depth.device) for part in found)  # the cameras stay on the CPU
    # Points sorted by frame: one cut for each.
    order = torch.argsort(frames, stable=True)
    groups = torch.split(order, torch.bincount(frames, minlength=len(depth)).tolist())
    known: list[float] = []
    missing: list[int] = []
    for frame, rows in enumerate(groups):
        x, y = pixels[rows].round().long().unbind(dim=-1)
        hit = usable[frame, y, x]
        ratios = track_depths[rows].log() - logs[frame, y, x]
        if int(hit.sum()) < settings.min_tracks:
            missing.append(frame)
            continue
        known.append(float(ratios[hit].median()))
        logs[frame] += fit_grid(pixels[rows][hit], ratios[hit], (logs.shape[-2], logs.shape[-1]), settings)
    for frame in missing:
        logs[frame] += _plain_scale(refined, frame, known)
    return logs.clamp_(-20, 20).exp_()


def smooth_depth(depth: Tensor, settings: DepthGridSettings) -> Tensor:
    """Gaussian blur of log depth (N, H, W), positive: hides the steps that networks leave at patch borders."""
    sigma = settings.blur * min(depth.shape[-2:]) / REFERENCE_SIDE
    return map_frames(lambda part: gaussian_filter(part.log(), sigma).exp(), depth)


def fill_invalid(depth: Tensor, usable: Tensor) -> Tensor:
    """Log depth (N, H, W) with unusable pixels filled from those around; 0 in a frame without any."""
    logs = torch.where(usable, depth, 1.0).float().log()
    if bool(usable.all()):
        return logs
    weight = usable.float()
    count = weight.sum(dim=(-2, -1), keepdim=True)
    filled = ((logs * weight).sum(dim=(-2, -1), keepdim=True) / count.clamp(min=1)).expand_as(logs)
    for share in (0.2, 0.05, 0.015):  # ever closer surroundings, as far as there are any
        reach = share * min(depth.shape[-2:])
        near = gaussian_filter(logs, reach, weight)
        seen = gaussian_filter(weight, reach)
        filled = torch.where(seen > 1e-3, near, filled)
    return torch.where(usable, logs, filled)


def track_depth(
    refined: RefinedCameras, network_from_working: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Depths of the tracks' points where frames saw them.

    Returns:
        Frame (M,), network pixel (M, 2) float32 within the grid of `size`, and depth (M,) float32 > 0 along the
        optical axis, world's unit.
    """
    tracks = refined.tracks
    poses = refined.camera_to_world.double()
    frame = tracks.frame.to(poses.device)
    offset = tracks.point.to(poses)[tracks.point_index.to(poses.device)] - poses[frame, :3, 3]
    depth = (offset * poses[frame, :3, 2]).sum(dim=-1)
    maps = network_from_working.to(poses)[frame]
    xy = tracks.xy.to(poses)
    pixel = (maps[:, :2, :2] @ xy[..., None])[..., 0] + maps[:, :2, 2]
    limit = pixel.new_tensor([size[1] - 1, size[0] - 1])
    keep = torch.isfinite(depth) & (depth > 1e-6) & ((pixel >= 0) & (pixel <= limit)).all(dim=-1)
    return frame[keep], pixel[keep].float(), depth[keep].float()


def fit_grid(pixels: Tensor, ratios: Tensor, size: tuple[int, int], settings: DepthGridSettings) -> Tensor:
    """Robust smooth surface through log depth ratios.

    Args:
        pixels: (M, 2), network pixels in the grid of `size`.
        ratios: (M,), log of wanted over predicted depth.
        size: (H, W).
        settings: the grid's.

    Returns:
        (H, W) log corrections; median ratio plus at most `settings.limit`.
    """
    nodes = node_counts(size, settings.nodes)
    median = ratios.median()
    # On the CPU: many small steps.
    design = _bilinear(pixels.double().cpu(), nodes, size)
    values = _robust_solution(design, (ratios - median).double().cpu(), nodes, settings)
    surface = values.reshape(1, 1, *nodes).to(ratios)
    surface = torch.nn.functional.interpolate(surface, size, mode="bilinear", align_corners=True)[0, 0]
    return median + surface.clamp(-settings.limit, settings.limit)


def node_counts(size: tuple[int, int], nodes: int) -> tuple[int, int]:
    """Nodes along y and x: `nodes` along the shorter side, as close together along the longer one."""
    spacing = (min(size) - 1) / (nodes - 1)
    return max(2, round((size[0] - 1) / spacing) + 1), max(2, round((size[1] - 1) / spacing) + 1)


def _bilinear(pixels: Tensor, nodes: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(M, nodes) weights of the grid's nodes at pixels (M, 2); corner nodes sit on corner pixels."""
    rows, columns = nodes
    x = pixels[:, 0] / max(size[1] - 1, 1) * (columns - 1)
    y = pixels[:, 1] / max(size[0] - 1, 1) * (rows - 1)
    i, j = x.long().clamp(0, columns - 2), y.long().clamp(0, rows - 2)
    x, y = x - i, y - j
    corner = j * columns + i
    index = torch.stack([corner, corner + 1, corner + columns, corner + columns + 1], dim=1)
    share = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], dim=1)
    return pixels.new_zeros(len(pixels), rows * columns).scatter_(1, index, share)


def _robust_solution(design: Tensor, wanted: Tensor, nodes: tuple[int, int], settings: DepthGridSettings) -> Tensor:
    """(nodes) values by reweighted least squares with a Cauchy loss whose width follows the residuals."""
    count = design.shape[1]
    index = torch.arange(count).reshape(nodes)
    first = torch.cat([index[:, :-1].flatten(), index[:-1].flatten()])
    second = torch.cat([index[:, 1:].flatten(), index[1:].flatten()])
    identity = torch.eye(count, dtype=design.dtype)
    roughness = identity[first] - identity[second]
    regular = settings.smoothness**2 * roughness.T @ roughness + (settings.damping**2 + 1e-9) * identity
    weight = torch.ones_like(wanted)
    values = wanted.new_zeros(count)
    for _ in range(_ROUNDS):
        weighted = design * weight[:, None]
        values = torch.linalg.solve(weighted.T @ design + regular, weighted.T @ wanted)
        residual = wanted - design @ values
        deviation = 1.4826 * residual.abs().median() + 1e-6
        weight = 1 / (1 + (residual / (2 * deviation)) ** 2)
    return values


def _plain_scale(refined: RefinedCameras, frame: int, known: list[float]) -> float:
    """Log factor of a frame that has too few tracks for a grid."""
    for factor in (float(refined.depth_scale[frame]), float(refined.placed_scale[frame])):
        if np.isfinite(factor) and factor > 0 and factor != 1:
            return float(np.log(factor))
    return float(np.median(known)) if known else 0.0
