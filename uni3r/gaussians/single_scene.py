"""One finite scene on the CPU, from which every file of Gaussians is written."""

from __future__ import annotations

import logging
import os

import torch
from torch import Tensor

from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.spherical_harmonics import CONSTANT

logger = logging.getLogger(__name__)

_RIGHT_UP_BACK = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


def one_scene(gaussians: Gaussians, path: str | os.PathLike[str]) -> Gaussians:
    """Drop the batch axis, move to the CPU, and leave out Gaussians that are not finite, with a warning.

    Viewers draw nothing, or everything black, with one such Gaussian.

    Args:
        gaussians: a batch of one scene.
        path: file that is to be written, for the warning.

    Raises:
        ValueError: for a batch of several scenes.
    """
    if gaussians.means.ndim != 3 or len(gaussians.means) != 1:
        raise ValueError(f"a file holds one scene; got means of shape {tuple(gaussians.means.shape)}, not (1, N, 3)")
    scene = gaussians[0]._map(lambda tensor: tensor.detach().float().cpu())
    fields = [scene.means, scene.scales, scene.rotations, scene.opacities[:, None], scene.harmonics.flatten(1)]
    fields += [] if scene.features is None else [scene.features]
    keep = torch.stack([field.isfinite().all(dim=1) for field in fields]).all(dim=0)
    if keep.all():
        return scene
    logger.warning("%s: %d of %d Gaussians are not finite and were left out", path, int((~keep).sum()), len(keep))
    return scene._map(lambda tensor: tensor[keep])


def one_scene_y_up(gaussians: Gaussians, path: str | os.PathLike[str]) -> Gaussians:
    """`one_scene` with x to the right, y up and z backwards, as glTF and SPZ have it; ours is y down and z forward."""
    return one_scene(gaussians.transform(_RIGHT_UP_BACK.to(gaussians.means)), path)


def base_colours(scene: Gaussians) -> Tensor:
    """(N, 3) RGB without direction, not clamped, of a scene without batch axis."""
    return scene.harmonics[:, 0] * CONSTANT + 0.5


def with_degree(gaussians: Gaussians, degree: int) -> Gaussians:
    """Drop the harmonics above a degree; what has fewer stays as it is."""
    kept = gaussians.harmonics[..., : (degree + 1) ** 2, :]
    fields = {**vars(gaussians), "harmonics": kept}
    return Gaussians(**fields)
