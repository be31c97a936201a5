"""Votes of registered neighbours on the placement of a frame, by Image-to-Points with the frame as reference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.backbone import PatchGrid
from slam3r.reconstruction.batches import equal_batches
from slam3r.reconstruction.memory.frame_store import FrameStore
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.placement.votes import Votes, sum_one, thinned
from slam3r.reconstruction.settings import ReconstructionSettings

NEIGHBOURS_WEIGHT = 0.3
"""Total weight of the neighbours' votes on a frame."""


def votes_of_neighbours(
    frames: Sequence[int],
    local: Tensor,
    stride: int,
    store: FrameStore,
    grid: PatchGrid,
    networks: Networks,
    settings: ReconstructionSettings,
) -> Votes:
    """One vote per pixel of a frame's registered neighbours, predicted by Image-to-Points in the frame's camera.

    Args:
        frames: frames to place.
        local: (F, H, W, 3) their pointmaps, of which only the unit is used.
        stride: keyframe stride.
        store: registered frames and tokens.
        grid: patch grid of the tokens.
        networks: I2P.
        settings: number of neighbours and of windows at once.
    """
    size = local.shape[1:3]
    weight = thinned(local.new_zeros(len(frames), settings.rigid_neighbours, *size), size)
    seen, world = (weight[..., None].repeat(1, 1, 1, 1, 3) for _ in range(2))
    neighbours = [registered_neighbours(frame, stride, store, settings) for frame in frames]
    placed = [i for i, own in enumerate(neighbours) if own]
    for batch in equal_batches(placed, lambda i: len(neighbours[i]), settings.window_batch):
        sources = store.sources([index for i in batch for index in neighbours[i]], networks, grid)
        window = networks.neighbour_pointmaps(store.tokens(frames[i] for i in batch), sources.items(len(batch)), grid)
        for i, points, confidence in zip(batch, window.points, window.confidence, strict=True):
            known = [store.world[frame] for frame in neighbours[i]]
            valid = thinned(torch.stack([one.valid for one in known]), size)
            unit = (local[i].norm(dim=-1) / points[0].norm(dim=-1)).median()
            seen[i, : len(known)] = thinned(points[1:], size) * unit
            world[i, : len(known)] = thinned(torch.stack([one.points for one in known]), size)
            # A confidence of 1, the minimum, has no vote.
            weight[i, : len(known)] = torch.where(valid, thinned(confidence[1:], size) - 1, 0.0)
    flat = weight.flatten(1)
    median = torch.where(flat > 0, flat, torch.nan).nanmedian(dim=1, keepdim=True).values
    weight = torch.where(flat >= median, flat, 0.0)
    return Votes(seen.flatten(1, 3), world.flatten(1, 3), NEIGHBOURS_WEIGHT * sum_one(weight))


def registered_neighbours(frame: int, stride: int, store: FrameStore, settings: ReconstructionSettings) -> list[int]:
    """Registered frames for a frame's window: at the keyframe spacing before it, or else the nearest ones.

    The second case concerns the frames between the initial keyframes. Frames registered while the camera was lost,
    and those from before the loss, are never neighbours.
    """
    usable = store.registered_near(frame, settings.rigid_neighbours * stride, settings.buffer_confidence)
    spaced = [index for index in usable if index < frame and (frame - index) % stride == 0]
    nearest = spaced if len(spaced) > 1 else usable
    return sorted(nearest, key=lambda index: (abs(index - frame), index))[: settings.rigid_neighbours]
