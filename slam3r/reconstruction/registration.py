"""Registering frames into the world by L2W."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.backbone import PatchGrid
from common.geometry.poses import poses_from_pointmaps
from common.geometry.transforms import apply_transform
from slam3r.reconstruction.frame_store import FrameStore
from slam3r.reconstruction.frames import LocalPointmap, WorldPointmap
from slam3r.reconstruction.initialization import InitialScene
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.scaling import normalize_all
from slam3r.reconstruction.settings import ReconstructionSettings


def register(
    groups: Sequence[Sequence[int]],
    references: Sequence[int],
    store: FrameStore,
    grid: PatchGrid,
    networks: Networks,
    settings: ReconstructionSettings,
) -> None:
    """Register groups of frames with the same references and put their world pointmaps into the store.

    Args:
        groups: frames of a group see each other through the references; groups of equal length are a batch.
        references: registered frames; their world pointmaps are given to the network as they are stored.
        store: read and written.
        grid: patch grid of the tokens.
        networks: L2W.
        settings: whether to normalize the input.
    """
    count = len(groups)
    tokens = store.tokens(references)[None]
    points = torch.stack([store.world[frame].points for frame in references])[None]
    source_tokens = torch.stack([store.tokens(group) for group in groups])
    source_points = torch.stack([torch.stack([store.local[frame].points for frame in group]) for group in groups])
    scale = torch.ones(1, device=points.device)
    if settings.normalize_input:
        points, scale = normalize_all(points)
        source_points = normalize_all(source_points.flatten(0, 1)[:, None])[0].view(source_points.shape)
    pointmaps = networks.register(
        tokens.expand(count, -1, -1, -1),
        points.expand(count, -1, -1, -1, -1),
        source_tokens,
        source_points,
        grid,
    )
    world = pointmaps.points * scale
    if settings.rigid_registration:
        world = move_rigidly(source_points, world, pointmaps.confidence)
    for i, group in enumerate(groups):
        for j, frame in enumerate(group):
            confidence = pointmaps.confidence[i, j].clone()
            store.world[frame] = WorldPointmap(world[i, j], confidence, float(confidence.double().mean()))


def move_rigidly(local: Tensor, world: Tensor, confidence: Tensor) -> Tensor:
    """The shape of the local pointmap at the place where the network put it.

    A small network knows better where a frame stands than where each of its pixels does. One robust similarity per
    frame averages over all pixels, and errors of shape no longer pile up from reference to reference.

    Args:
        local: (..., H, W, 3) as the network read them; 0 where masked.
        world: (..., H, W, 3) as the network registered them.
        confidence: (..., H, W) of the registration; the better half of a frame votes.

    Returns:
        (..., H, W, 3); the network's own points where the local pointmap is masked or no similarity was found.
    """
    median = confidence.flatten(-2).median(dim=-1).values[..., None, None]
    poses = poses_from_pointmaps(local, world, torch.where(confidence >= median, confidence, 0.0))
    similarity = poses.camera_to_world.clone()
    similarity[..., :3, :3] *= poses.scale[..., None, None]
    moved = apply_transform(similarity, local.flatten(-3, -2)).view(world.shape)
    known = (local != 0).any(dim=-1) & poses.found[..., None, None]
    return torch.where(known[..., None], moved, world)


def adopt_initial_frames(scene: InitialScene, store: FrameStore) -> None:
    """Put the initial window into the store as registered frames, with their I2P confidence for now."""
    for frame, frame_points, frame_confidence in zip(scene.frames, scene.points, scene.confidence, strict=True):
        mean = float(frame_confidence.double().mean())
        store.local[frame] = LocalPointmap(frame_points, frame_confidence, frame_points, mean)
        store.world[frame] = WorldPointmap(frame_points, frame_confidence, mean)


def rescale_initial_confidence(initial: Sequence[int], head: Sequence[int], store: FrameStore) -> None:
    """Bring the initial frames' I2P confidences into L2W's range, so that the buffering set can compare them."""
    if not head:
        return
    registered = max(store.world[frame].mean_confidence for frame in head)
    factor = registered / max(store.world[frame].mean_confidence for frame in initial)
    for frame in initial:
        world = store.world[frame]
        store.world[frame] = WorldPointmap(world.points, world.confidence * factor, world.mean_confidence * factor)
