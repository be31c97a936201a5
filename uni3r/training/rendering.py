"""Renders the target views of a training window."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from common.views import Views
from uni3r.gaussians.gaussians import Gaussians
from uni3r.models.description import Background
from uni3r.models.scene_unit import cameras_in_unit
from uni3r.rasterization import RasterizationSettings, Rendering, rasterize


@dataclass(frozen=True)
class RenderOptions:
    """Options of rendering in training."""

    near: float = 0.1
    """Metres."""
    far: float = 100.0
    """Metres."""
    raise_sh_every: int | None = None
    """Optimizer steps after which the degree of the harmonics increases; None stays at degree 0 (published)."""
    background: Background = "black"
    """Background behind the Gaussians; see `uni3r.rasterization.background`."""
    settings: RasterizationSettings = field(default_factory=RasterizationSettings)

    def sh_degree(self, highest: int, step: int) -> int:
        """Degree of the harmonics at an optimizer step, at most `highest`."""
        return 0 if self.raise_sh_every is None else min(highest, step // self.raise_sh_every)


def render_targets(
    gaussians: Gaussians, context: Views, targets: Views, unit: Tensor, options: RenderOptions, sh_degree: int
) -> Rendering:
    """Render Gaussians at the true poses of target views.

    Args:
        gaussians: (B, N), in the frame of the first context camera and the unit of the network.
        context: (B, C) with poses.
        targets: (B, V) with cameras; the renderings have the size of their images.
        unit: (B,) unit of the network's world, metres.
        options: clipping planes, background and numerics; the background is not composited here.
        sh_degree: degree of the harmonics that are evaluated.

    Returns:
        (B, V, ..).
    """
    assert context.camera_to_world is not None, "training views need poses"
    return rasterize(
        gaussians,
        cameras_in_unit(targets, context.camera_to_world[:, 0], unit),
        (targets.images.shape[-2], targets.images.shape[-1]),
        near=options.near / float(unit.max()),
        far=options.far / float(unit.min()),
        sh_degree=sh_degree,
        settings=options.settings,
    )
