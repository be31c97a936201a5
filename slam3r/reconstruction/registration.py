"""Registration of frames into the world by L2W."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from common.backbone import PatchGrid
from slam3r.reconstruction.batches import equal_batches
from slam3r.reconstruction.frames import LocalPointmap, WorldPointmap
from slam3r.reconstruction.initialization import InitialScene
from slam3r.reconstruction.memory.frame_store import FrameStore
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.placement.neighbour_votes import votes_of_neighbours
from slam3r.reconstruction.placement.rigid import place, whole_shapes
from slam3r.reconstruction.placement.track_votes import votes_of_tracks
from slam3r.reconstruction.placement.votes import votes_of_network
from slam3r.reconstruction.scaling import normalize_all
from slam3r.reconstruction.settings import ReconstructionSettings


def register(
    groups: Sequence[Sequence[int]],
    references: Sequence[int],
    stride: int,
    store: FrameStore,
    grid: PatchGrid,
    networks: Networks,
    settings: ReconstructionSettings,
) -> None:
    """Register groups of frames with the same references and put their world pointmaps into the store.

    Args:
        groups: frames of a group see each other through the references, groups do not.
        references: registered frames; their world pointmaps are given to the network as they are stored.
        stride: keyframe stride.
        store: read, and written when all groups are registered.
        grid: patch grid of the tokens.
        networks: L2W, and I2P where frames are placed as a whole.
        settings: whether to normalize the input, whether to place frames as a whole, groups decoded at once.
    """
    registered: dict[int, WorldPointmap] = {}
    for batch in equal_batches(groups, len, settings.window_batch):
        registered |= _register_batch(batch, references, stride, store, grid, networks, settings)
    store.world |= registered


def _register_batch(
    groups: Sequence[Sequence[int]],
    references: Sequence[int],
    stride: int,
    store: FrameStore,
    grid: PatchGrid,
    networks: Networks,
    settings: ReconstructionSettings,
) -> dict[int, WorldPointmap]:
    """Register a few groups of equal length at once; returns their frames' world pointmaps."""
    frames = [frame for group in groups for frame in group]
    source_tokens = torch.stack([store.tokens(group) for group in groups])
    source_points = torch.stack([torch.stack([store.local[frame].points for frame in group]) for group in groups])
    scale = torch.ones(1, device=source_points.device)
    if settings.normalize_input:
        points, scale = normalize_all(torch.stack([store.world[frame].points for frame in references])[None])
        known = networks.start_references(store.tokens(references), points[0], grid)
        source_points = normalize_all(source_points.flatten(0, 1)[:, None])[0].view(source_points.shape)
    else:
        known = store.references(references, networks, grid)
    pointmaps = networks.register(known, source_tokens, source_points, grid)
    local, world, confidence = (
        each.flatten(0, 1) for each in (source_points, pointmaps.points * scale, pointmaps.confidence)
    )
    if settings.rigid_registration:
        valid = torch.stack([store.local[frame].valid for frame in frames])
        votes = [votes_of_network(local, world, confidence, valid)]
        shapes = whole_shapes(torch.stack([store.local[frame].raw_points for frame in frames]), local, valid)
        if settings.rigid_neighbours:
            votes.append(votes_of_neighbours(frames, shapes, stride, store, grid, networks, settings))
        if settings.rigid_tracks:
            votes.append(votes_of_tracks(frames, shapes, stride, store, settings))
        world = place(shapes, world, valid.flatten(1).any(dim=1), votes)
    means = confidence.double().flatten(1).mean(dim=1)
    if settings.rigid_registration:
        # The shape is I2P's, so each pixel has I2P's confidence; in a lost frame none exceeds L2W's mean.
        shape_confidence = torch.stack([store.local[frame].confidence for frame in frames])
        most = torch.where(means < settings.weak_confidence, means, torch.inf).to(confidence)
        confidence = torch.minimum(shape_confidence, most[:, None, None])
    return {
        frame: WorldPointmap(own, sure.clone(), own.isfinite().all(dim=-1), mean)
        for frame, own, sure, mean in zip(frames, world, confidence, means.tolist(), strict=True)
    }


def adopt_initial_frames(scene: InitialScene, store: FrameStore) -> None:
    """Put the initial window into the store as registered frames, with their I2P confidence for now."""
    for frame, points, confidence, valid in zip(scene.frames, scene.points, scene.confidence, scene.valid, strict=True):
        mean = float(confidence.double().mean())
        store.local[frame] = LocalPointmap(points, confidence, points, valid, mean)
        store.world[frame] = WorldPointmap(points, confidence, valid & points.isfinite().all(dim=-1), mean)


def rescale_initial_confidence(initial: Sequence[int], head: Sequence[int], store: FrameStore) -> None:
    """Bring the initial frames' I2P confidences into L2W's range, so that the buffering set can compare them."""
    if not head:
        return
    registered = max(store.world[frame].mean_confidence for frame in head)
    factor = registered / max(store.world[frame].mean_confidence for frame in initial)
    for frame in initial:
        world = store.world[frame]
        store.world[frame] = replace(
            world, confidence=world.confidence * factor, mean_confidence=world.mean_confidence * factor
        )
