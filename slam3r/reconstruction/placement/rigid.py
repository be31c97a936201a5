"""Rigid placement of a frame: one similarity per frame instead of the network's per-pixel prediction.

Not part of the published method. A small Local-to-World network predicts the pose of a frame more accurately than its
individual pixels, and Image-to-Points is most accurate for the relative pose of neighbouring frames. A robust
similarity averages over all pixels, so errors of shape no longer accumulate from reference to reference, and the
network's votes limit the drift of the neighbours'. Corners tracked between images give the most exact correspondences.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.geometry.poses import poses_from_pointmaps
from common.geometry.transforms import apply_transform
from slam3r.reconstruction.placement.votes import Votes


def whole_shapes(raw: Tensor, normalized: Tensor, valid: Tensor) -> Tensor:
    """Local pointmaps in the unit of Local-to-World's input, including pixels that are masked there.

    Args:
        raw: (F, H, W, 3) as Image-to-Points predicted them.
        normalized: (F, H, W, 3) the same in another unit per frame.
        valid: (F, H, W) bool, the valid pixels of ``normalized``.

    Returns:
        (F, H, W, 3); zeros for a frame without a valid pixel.
    """
    ratio = normalized.norm(dim=-1) / raw.norm(dim=-1)
    known = valid & ratio.isfinite()
    unit = torch.where(known, ratio, torch.nan).flatten(1).nanmedian(dim=1).values.nan_to_num(nan=0.0)
    return raw * unit[:, None, None, None]


def place(local: Tensor, world: Tensor, known: Tensor, votes: Sequence[Votes]) -> Tensor:
    """Transform local pointmaps by the similarity that fits the votes.

    Args:
        local: (F, H, W, 3) in each frame's camera.
        world: (F, H, W, 3) as the network registered them.
        known: (F,) bool, the frames that have a local pointmap.
        votes: votes of the network, the neighbours and the tracks.

    Returns:
        (F, H, W, 3) world points; the network's own for a frame that is not known or has no similarity.
    """
    # Flattened, since the closed form treats all pairs alike.
    weight = torch.cat([own.weight for own in votes], dim=1)
    poses = poses_from_pointmaps(
        torch.cat([own.local for own in votes], dim=1)[:, None],
        torch.cat([own.world for own in votes], dim=1)[:, None],
        torch.where(known[:, None], weight, 0.0)[:, None],
        weighted_median=True,
    )
    similarity = poses.camera_to_world.clone()
    similarity[:, :3, :3] *= poses.scale[:, None, None]
    moved = apply_transform(similarity, local.flatten(1, 2)).view(world.shape)
    return torch.where(poses.found[:, None, None, None], moved, world)
