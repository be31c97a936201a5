"""Where a frame stands, as a whole: one similarity per frame in place of the network's point by point answer.

Not part of the published method. A small Local-to-World network knows better where a frame stands than where each of
its pixels does, and Image-to-Points knows best how a frame stands to those next to it. A robust similarity averages
over all their pixels, errors of shape no longer pile up from reference to reference, and the network's vote keeps the
neighbours' from drifting. Corners followed from picture to picture say most exactly which points are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.backbone import PatchGrid
from common.geometry.poses import poses_from_pointmaps
from common.geometry.transforms import apply_transform
from slam3r.reconstruction.frame_store import FrameStore
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.settings import ReconstructionSettings
from slam3r.reconstruction.tracks import follow, grey

VOTES_PER_SIDE = 56
"""Pixels of an image side that vote, about: neighbouring pixels say the same."""
NETWORK_WEIGHT = 0.1
"""Of all votes of Local-to-World on a frame together."""
NEIGHBOURS_WEIGHT = 0.3
"""Of all votes of the neighbours' windows together."""
TRACK_CELLS = 8
"""Cells of an image side. Corners crowd where there is texture; those of one cell share one vote, and a picture whose
cells all have a corner in a neighbour weighs 1."""


@dataclass(frozen=True)
class Votes:
    """Pairs of points that say where frames stand: P pairs for each of F frames."""

    local: Tensor
    """(F, P, 3) in the frame's camera, in the unit of its local pointmap."""
    world: Tensor
    """(F, P, 3)."""
    weight: Tensor
    """(F, P), 0 for a pair without a vote."""


def whole_shapes(raw: Tensor, normalized: Tensor) -> Tensor:
    """Local pointmaps in the unit that Local-to-World reads, those pixels too that it is not shown.

    Args:
        raw: (F, H, W, 3) as Image-to-Points gave them.
        normalized: (F, H, W, 3) the same in another unit per frame; 0 where masked.

    Returns:
        (F, H, W, 3); zeros for a frame that is masked as a whole.
    """
    ratio = normalized.norm(dim=-1) / raw.norm(dim=-1)
    known = (normalized != 0).any(dim=-1) & ratio.isfinite()
    unit = torch.where(known, ratio, torch.nan).flatten(1).nanmedian(dim=1).values.nan_to_num(nan=0.0)
    return raw * unit[:, None, None, None]


def votes_of_network(local: Tensor, world: Tensor, confidence: Tensor) -> Votes:
    """Every pixel of a frame, where Local-to-World put it; the more confident half votes.

    Args:
        local: (F, H, W, 3); 0 where masked.
        world: (F, H, W, 3) as registered.
        confidence: (F, H, W) of the registration.
    """
    local, world, confidence = (_thinned(x, confidence.shape[-2:]) for x in (local, world, confidence))
    median = confidence.flatten(1).median(dim=1).values[:, None, None]
    weight = torch.where((confidence >= median) & (local != 0).any(dim=-1), confidence, 0.0)
    return Votes(local.flatten(1, 2), world.flatten(1, 2), NETWORK_WEIGHT * _sum_one(weight.flatten(1)))


def votes_of_neighbours(
    frames: Sequence[int],
    local: Tensor,
    stride: int,
    store: FrameStore,
    grid: PatchGrid,
    networks: Networks,
    settings: ReconstructionSettings,
) -> Votes:
    """Every pixel of a frame's registered neighbours, where Image-to-Points sees it from the frame.

    Args:
        frames: to be placed.
        local: (F, H, W, 3) their pointmaps; only their unit is read.
        stride: keyframe stride.
        store: registered frames and tokens.
        grid: of the tokens.
        networks: I2P.
        settings: how many neighbours, how many windows at once.
    """
    size = local.shape[1:3]
    weight = _thinned(local.new_zeros(len(frames), settings.rigid_neighbours, *size), size)
    seen, world = (weight[..., None].repeat(1, 1, 1, 1, 3) for _ in range(2))
    neighbours = [registered_neighbours(frame, stride, store, settings) for frame in frames]
    for batch in _batches(neighbours, settings.window_batch):
        tokens = torch.stack([store.tokens([frames[i], *neighbours[i]]) for i in batch])
        window = networks.window_pointmaps(tokens, grid)
        for i, points, confidence in zip(batch, window.points, window.confidence, strict=True):
            known = _thinned(torch.stack([store.world[frame].points for frame in neighbours[i]]), size)
            unit = (local[i].norm(dim=-1) / points[0].norm(dim=-1)).median()
            seen[i, : len(known)] = _thinned(points[1:], size) * unit
            world[i, : len(known)] = known
            # Masked founding points are exact zeros. A confidence of 1, the smallest there is, has no vote.
            sure = _thinned(confidence[1:], size) - 1
            weight[i, : len(known)] = torch.where((known != 0).any(dim=-1), sure, 0.0)
    flat = weight.flatten(1)
    median = torch.where(flat > 0, flat, torch.nan).nanmedian(dim=1, keepdim=True).values
    weight = torch.where(flat >= median, flat, 0.0)
    return Votes(seen.flatten(1, 3), world.flatten(1, 3), NEIGHBOURS_WEIGHT * _sum_one(weight))


def votes_of_tracks(
    frames: Sequence[int], local: Tensor, stride: int, store: FrameStore, settings: ReconstructionSettings
) -> Votes:
    """Every corner of a registered neighbour that is found again in the frame: the two points are one.

    Args:
        frames: to be placed.
        local: (F, H, W, 3) their pointmaps; 0 where masked.
        stride: keyframe stride.
        store: registered frames and pictures.
        settings: how far a neighbour may be.
    """
    per_frame = [_tracked_points(frame, own, stride, store, settings) for frame, own in zip(frames, local, strict=True)]
    most = max(len(points) for points in per_frame)
    padded = torch.stack([torch.nn.functional.pad(points, (0, 0, 0, most - len(points))) for points in per_frame])
    return Votes(padded[..., :3], padded[..., 3:6], padded[..., 6])


def _tracked_points(
    frame: int, local: Tensor, stride: int, store: FrameStore, settings: ReconstructionSettings
) -> Tensor:
    """(N, 7) local point, world point and weight of a frame's followed corners."""
    picture = grey(store.inputs[frame].image)
    cell = torch.tensor(picture.shape) / TRACK_CELLS
    found = [local.new_zeros(0, 7)]
    for index in tracked_neighbours(frame, stride, store, settings):
        there, here = (pixels.to(local.device) for pixels in follow(grey(store.inputs[index].image), picture))
        world = store.world[index].points[there[:, 0], there[:, 1]]
        own = local[here[:, 0], here[:, 1]]
        known = (world != 0).any(dim=-1) & (own != 0).any(dim=-1)
        cells = (here[known].cpu() / cell).long()
        _, member, count = torch.unique(cells, dim=0, return_inverse=True, return_counts=True)
        weight = (1 / (count[member] * TRACK_CELLS**2)).to(local)
        found.append(torch.cat([own[known], world[known], weight[:, None]], dim=1))
    return torch.cat(found)


def tracked_neighbours(frame: int, stride: int, store: FrameStore, settings: ReconstructionSettings) -> list[int]:
    """Registered frames in which a frame's corners are looked for: the nearest, then each at least twice as far.

    A near frame shares the most corners; a far one keeps the error of many small steps from growing.
    """
    chosen: list[int] = []
    for index in sorted(_usable(frame, stride, store, settings), key=lambda index: (abs(index - frame), index)):
        if not chosen or abs(index - frame) >= 2 * abs(chosen[-1] - frame):
            chosen.append(index)
    return chosen


def registered_neighbours(frame: int, stride: int, store: FrameStore, settings: ReconstructionSettings) -> list[int]:
    """Registered frames for a frame's window: at the keyframe spacing before it, or else the nearest there are.

    The second concerns the frames between the founding keyframes. Frames of a loss, and those from before it, are
    nobody's neighbours.
    """
    usable = _usable(frame, stride, store, settings)
    spaced = [index for index in usable if index < frame and (frame - index) % stride == 0]
    nearest = spaced if len(spaced) > 1 else usable
    return sorted(nearest, key=lambda index: (abs(index - frame), index))[: settings.rigid_neighbours]


def _usable(frame: int, stride: int, store: FrameStore, settings: ReconstructionSettings) -> list[int]:
    return [
        index
        for index, world in store.world.items()
        if index in store.inputs
        and 0 < abs(index - frame) <= settings.rigid_neighbours * stride
        and world.mean_confidence >= settings.buffer_confidence
    ]


def place(local: Tensor, world: Tensor, votes: Sequence[Votes]) -> Tensor:
    """The frames' local pointmaps, moved as a whole to where the votes say.

    Args:
        local: (F, H, W, 3); 0 where masked.
        world: (F, H, W, 3) as the network registered them.
        votes: of the network, of the neighbours, of the tracks.

    Returns:
        (F, H, W, 3); the network's own points where the local pointmap is masked or no similarity was found.
    """
    # Pixels in one long row: the closed form does not ask where a pair comes from.
    poses = poses_from_pointmaps(
        torch.cat([own.local for own in votes], dim=1)[:, None],
        torch.cat([own.world for own in votes], dim=1)[:, None],
        torch.cat([own.weight for own in votes], dim=1)[:, None],
        weighted_median=True,
    )
    similarity = poses.camera_to_world.clone()
    similarity[:, :3, :3] *= poses.scale[:, None, None]
    moved = apply_transform(similarity, local.flatten(1, 2)).view(world.shape)
    known = (local != 0).any(dim=-1) & poses.found[:, None, None]
    return torch.where(known[..., None], moved, world)


def _thinned(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """(.., H, W) or (.., H, W, 3) at about `VOTES_PER_SIDE` pixels a side."""
    spacing = max(1, min(size) // VOTES_PER_SIDE)
    return pixels[..., ::spacing, ::spacing, :] if pixels.shape[-3:-1] == size else pixels[..., ::spacing, ::spacing]


def _sum_one(weight: Tensor) -> Tensor:
    """(F, P) weights whose sum over the pairs is 1, so that sets of votes can be put together."""
    return weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-12)


def _batches(neighbours: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Positions of consecutive frames with equally many neighbours (at least one), ``size`` at most."""
    batch: list[int] = []
    for i, own in enumerate(neighbours):
        if batch and (len(own) != len(neighbours[batch[0]]) or len(batch) == size):
            yield batch
            batch = []
        if own:
            batch.append(i)
    if batch:
        yield batch
