"""Cameras and depths of the context from its pictures, where these say more than the network and direct alignment do.

Direct alignment (`uni3r.posing.refinement`) compares small pictures with renderings of what the network believes, and
takes its focal length for granted. Features matched in the original pictures depend on neither, so focal length and
poses are adjusted together (`common.refinement`). The Gaussians follow. Each stays on the ray of its pixel, at the
depth that a search in the pictures finds, or at its own times a smooth surface through the triangulated points: one
factor per view is not enough, as right cameras show the faults of the depth, which wrong ones had partly absorbed.
Where other views see through a Gaussian, it fades.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.geometry.colmap_backend import BackendMissingError
from common.geometry.transforms import apply_transform, invert_rigid, make_transform
from common.refinement.inputs import network_cameras
from common.refinement.outcome import Refinement, Verdict
from common.refinement.pictures import renumbered
from common.refinement.refine import refine
from common.refinement.settings import RefinementSettings
from common.refinement.types import Camera, Picture, Prediction, RefinedCameras
from common.views import Cameras
from uni3r.gaussians.gaussians import Gaussians
from uni3r.posing.fading import faded
from uni3r.posing.refinement import view_part
from uni3r.posing.settings import MatchedCameraSettings

logger = logging.getLogger(__name__)

_CONFIRMABLE = 3
"""Views that it takes for two others to confirm a point."""


@dataclass(frozen=True)
class MatchedCameras:
    """Cameras and the Gaussians placed by them; both as they were where matching did not win."""

    gaussians: Gaussians
    cameras: Cameras
    verdict: Verdict
    """`applied` says whether anything changed, `reason` why."""
    loose: tuple[int, ...] = ()
    """Views that no match connects with the others; where cameras are taken, these lie as before beside neighbours."""

    @property
    def taken(self) -> bool:
        """The cameras are those of matching."""
        return self.verdict.applied != "none"


@torch.no_grad()
def match_cameras(
    gaussians: Gaussians,
    cameras: Cameras,
    confidence: Tensor,
    pictures: Sequence[Picture],
    settings: MatchedCameraSettings,
    known_intrinsics: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> MatchedCameras:
    """Adjust the cameras of a context to features matched in its pictures, and move the Gaussians with them.

    The adjusted cameras are taken where they fit matches that were held back better than the given ones do.

    Args:
        gaussians: one scene (1, V * H * W), view by view, in the frame of view 0.
        cameras: (V,) cameras by which they were placed, at network size; where one has no pose (NaN), all are kept.
        confidence: (V, H, W) of the network's points.
        pictures: V pictures, as large as there are.
        settings: see `MatchedCameraSettings`.
        known_intrinsics: the intrinsics are right; only poses are sought.
        progress: is told the stage and the share of it that is done.

    Returns:
        A result whatever the pictures are; the first camera is the world's frame, as before.
    """
    kept = MatchedCameras(gaussians, cameras, Verdict(reason="the matching of cameras was switched off"))
    if settings.mode == "off":
        return kept
    if len(pictures) < 2:
        return replace(kept, verdict=Verdict(reason="a single picture has no partner to be matched with"))
    lost = int((~cameras.camera_to_world.isfinite().all(dim=(-2, -1))).sum())
    if lost:  # a view without a pose has no depth that could follow
        return replace(kept, verdict=Verdict(reason=f"no pose was found for {lost} of {len(pictures)} pictures"))
    try:
        depth = _own_depth(gaussians, cameras, confidence)
        numbered = renumbered(list(pictures))
        device = gaussians.means.device
        refinement = _refine(depth, cameras, confidence, numbered, settings, known_intrinsics, progress, device)
    except BackendMissingError as error:
        return replace(kept, verdict=Verdict(reason=str(error)))
    except Exception as error:  # the scene is whole without it
        logger.exception("the matching of cameras failed, they stay as they were")
        return replace(kept, verdict=Verdict(reason=f"kept, because matching failed: {type(error).__name__}: {error}"))
    verdict = refinement.verdict
    if len(pictures) < _CONFIRMABLE:
        verdict = replace(verdict, confirmed=None, confirmed_before=None)
    if refinement.cameras is None:
        return replace(kept, verdict=verdict)
    found = _network_cameras(refinement.cameras, refinement.pictures, cameras)
    factors = _depth_factors(refinement, depth).to(cameras.camera_to_world)
    moved = follow_cameras(gaussians, cameras, found, factors)
    loose = tuple((~refinement.cameras.connected).nonzero()[:, 0].tolist())
    visible = faded(moved, refinement, numbered, settings.dense.consistency)
    return MatchedCameras(visible, found, verdict, loose)


def follow_cameras(gaussians: Gaussians, old: Cameras, new: Cameras, factors: Tensor) -> Gaussians:
    """Move Gaussians from the rays of their pixels in old cameras to the same pixels' rays in new ones.

    Shapes and colours turn with the camera. Sizes grow so that a Gaussian covers as many pixels as before.

    Args:
        gaussians: one scene (1, V * P), view by view.
        old: (V,) cameras that they lie before.
        new: (V,) cameras that they shall lie before.
        factors: (V, P) factors on the depth.
    """
    views, parts = len(factors), []
    for view in range(views):
        part = view_part(gaussians, view, views)
        before, after = old.camera_to_world[view], new.camera_to_world[view]
        # In camera axes, inv(K_new) K_old takes the ray of a pixel to its new ray and keeps the depth.
        to_ray = torch.linalg.inv(new.intrinsics[view]) @ old.intrinsics[view]
        factor = factors[view, None, :, None]
        local = factor * apply_transform(invert_rigid(before), part.means) @ to_ray.T
        growth = (to_ray[0, 0] * to_ray[1, 1]).sqrt()
        turn = after[:3, :3] @ before[:3, :3].T
        moved = part.transform(make_transform(growth * turn, torch.zeros_like(after[:3, 3])))
        parts.append(replace(moved, means=apply_transform(after, local), scales=factor * moved.scales))
    return Gaussians.merge(parts)


def _own_depth(gaussians: Gaussians, cameras: Cameras, confidence: Tensor) -> Tensor:
    """(V, H, W) depth of the Gaussians in their own cameras, on the CPU; 0 where there is none."""
    views, height, width = confidence.shape
    poses = cameras.camera_to_world.double().cpu()
    means = gaussians.means[0].detach().double().cpu().reshape(views, height * width, 3)
    depth = apply_transform(invert_rigid(poses), means)[..., 2].reshape(views, height, width).float()
    return torch.where(depth.isfinite() & (depth > 0), depth, 0.0)


def _refine(
    depth: Tensor,
    cameras: Cameras,
    confidence: Tensor,
    pictures: list[Picture],
    settings: MatchedCameraSettings,
    known_intrinsics: bool,
    progress: Callable[[str, float], None] | None,
    device: torch.device,
) -> Refinement:
    """Refine the cameras and depths of the scene; depths are searched on the device, the rest is done on the CPU."""
    prediction = Prediction(
        depth, depth > 0, confidence.float().cpu(), cameras.camera_to_world.float().cpu(), cameras.intrinsics.cpu()
    )
    adjustment = replace(settings.cameras.adjustment, radial="off")  # the renderer has pinhole cameras only
    cameras_alone = replace(settings.cameras, adjustment=adjustment)
    wanted = RefinementSettings(mode=settings.mode, cameras=cameras_alone, dense=settings.dense)
    known = _known_cameras(pictures, prediction) if known_intrinsics else None
    return refine(pictures, prediction, wanted, cameras=known, progress=progress, device=device)


def _known_cameras(pictures: list[Picture], prediction: Prediction) -> list[Camera | None]:
    """The scene's intrinsics as known cameras, by their number."""
    known: dict[int, Camera] = {}
    for picture, camera in zip(pictures, network_cameras(pictures, prediction), strict=True):
        known.setdefault(picture.camera, replace(camera, known=True))
    return [known[number] for number in range(len(known))]


def _network_cameras(refined: RefinedCameras, pictures: list[Picture], like: Cameras) -> Cameras:
    """(V,) refined cameras at network size, in the frame of view 0."""
    matrices = [picture.network_from_working @ refined.cameras[picture.camera].matrix for picture in pictures]
    placed = refined.placed.double()
    relative = invert_rigid(placed[:1]) @ placed
    return Cameras(relative.to(like.camera_to_world), torch.stack(matrices).to(like.intrinsics))


def _depth_factors(refinement: Refinement, depth: Tensor) -> Tensor:
    """(V, H * W) factors from the depth (V, H, W) of the Gaussians to one that fits the triangulated points: a smooth
    surface for each view; where a view has too few points for that, and behind a camera, a single factor."""
    assert refinement.cameras is not None and refinement.depth is not None
    refined = refinement.cameras
    alone = torch.where(refined.depth_scale.isfinite(), refined.depth_scale, refined.placed_scale)
    factors = torch.where(depth > 0, refinement.depth.depth / depth.clamp_min(1e-12), alone[:, None, None])
    return factors.flatten(1)
