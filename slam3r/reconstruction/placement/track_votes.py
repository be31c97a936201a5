"""Votes of tracked corners on the placement of a frame: a corner found in two images is one point."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slam3r.reconstruction.memory.frame_store import FrameStore
from slam3r.reconstruction.placement.tracks import follow
from slam3r.reconstruction.placement.votes import Votes
from slam3r.reconstruction.settings import ReconstructionSettings

TRACK_CELLS = 8
"""Cells along an image side. Corners cluster in textured regions; those of one cell share one vote, and an image with a
tracked corner in every cell has weight 1."""


def votes_of_tracks(
    frames: Sequence[int], local: Tensor, stride: int, store: FrameStore, settings: ReconstructionSettings
) -> Votes:
    """One vote per corner of a registered neighbour that is found again in the frame.

    Args:
        frames: frames to place.
        local: (F, H, W, 3) their pointmaps.
        stride: keyframe stride.
        store: registered frames and pictures.
        settings: largest distance of a neighbour.
    """
    per_frame = [_tracked_points(frame, own, stride, store, settings) for frame, own in zip(frames, local, strict=True)]
    most = max(len(points) for points in per_frame)
    padded = torch.stack([torch.nn.functional.pad(points, (0, 0, 0, most - len(points))) for points in per_frame])
    return Votes(padded[..., :3], padded[..., 3:6], padded[..., 6])


def tracked_neighbours(frame: int, stride: int, store: FrameStore, settings: ReconstructionSettings) -> list[int]:
    """Registered frames in which a frame's corners are searched: the nearest, then each at least twice as far.

    Near frames share the most corners; far ones limit the accumulation of error over many small steps.
    """
    usable = store.registered_near(frame, settings.strides_tracked * stride, settings.buffer_confidence)
    chosen: list[int] = []
    for index in sorted(usable, key=lambda index: (abs(index - frame), index)):
        if not chosen or abs(index - frame) >= 2 * abs(chosen[-1] - frame):
            chosen.append(index)
    return chosen


def _tracked_points(
    frame: int, local: Tensor, stride: int, store: FrameStore, settings: ReconstructionSettings
) -> Tensor:
    """(N, 7) local point, world point and weight of a frame's tracked corners."""
    picture = store.inputs[frame].picture
    cell = torch.tensor(picture.grey.shape) / TRACK_CELLS
    found = [local.new_zeros(0, 7)]
    for index in tracked_neighbours(frame, stride, store, settings):
        there, here = (pixels.to(local.device) for pixels in follow(store.inputs[index].picture, picture))
        known = store.world[index].valid[there[:, 0], there[:, 1]]
        there, here = there[known], here[known]
        world, own = store.world[index].points[there[:, 0], there[:, 1]], local[here[:, 0], here[:, 1]]
        cells = (here.cpu() / cell).long()
        _, member, count = torch.unique(cells, dim=0, return_inverse=True, return_counts=True)
        weight = (1 / (count[member] * TRACK_CELLS**2)).to(local)
        found.append(torch.cat([own, world, weight[:, None]], dim=1))
    return torch.cat(found)
