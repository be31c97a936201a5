"""Speed of rendering Gaussians on this machine, and the share of each part on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial

import torch

from common.geometry.cameras import colmap_from_opencv, make_intrinsics, unproject_depth
from common.profiling.report import SpeedRow
from common.profiling.timing import Measurement, measure
from common.views import Cameras
from uni3r.gaussians.gaussians import Gaussians
from uni3r.rasterization.dispatch import rasterize
from uni3r.rasterization.projection import Splats, project_gaussians
from uni3r.rasterization.rendering import RasterizationSettings
from uni3r.rasterization.tiles import list_tiles


@dataclass(frozen=True)
class RasterizerWorkload:
    """One image of Gaussians that are aligned to the pixels of some views, as Uni3R predicts them."""

    side: int
    """Pixels of the square views and of the image."""
    channels: int
    """Features, besides colour and depth."""
    views: int = 2
    splat_size: float = 0.5
    """Median standard deviation of a splat before the blur, pixels."""


WORKLOADS = (RasterizerWorkload(128, 16), RasterizerWorkload(256, 64))
"""A training step on the CPU, and the published size."""
QUICK_WORKLOADS = (RasterizerWorkload(16, 4),)
"""Toy workload, which only shows that it works."""


def pixel_aligned_scene(work: RasterizerWorkload, device: torch.device) -> tuple[Gaussians, Cameras]:
    """A wavy surface seen by all views from slightly different places: (1, N, ..) and one camera (1, 1, ..)."""
    generator = torch.Generator().manual_seed(0)
    side, number = work.side, work.views * work.side**2
    focal = 1.1 * side
    intrinsics = make_intrinsics(torch.tensor(focal), torch.tensor([(side - 1) / 2] * 2))
    wave = torch.linspace(0, 7, side)
    depth = torch.stack(
        [3 + 0.5 * torch.sin(wave + view) + 0.4 * torch.cos(wave)[:, None] for view in range(work.views)]
    )
    points = unproject_depth(depth, intrinsics.expand(work.views, 3, 3)).flatten(1, 2)
    points[..., 0] += 0.2 * torch.linspace(-0.5, 0.5, work.views)[:, None]
    spread = torch.exp(0.3 * torch.randn(number, 3, generator=generator))
    gaussians = Gaussians(
        points.reshape(1, number, 3),
        (depth.reshape(number, 1) * work.splat_size / focal * spread)[None],
        torch.randn(1, number, 4, generator=generator),
        0.1 + 0.8 * torch.rand(1, number, generator=generator),
        torch.randn(1, number, 1, 3, generator=generator),
        torch.randn(1, number, work.channels, generator=generator),
    )
    return gaussians.to(device), Cameras(torch.eye(4)[None, None], intrinsics[None, None]).to(device)


def benchmark_rows(device: torch.device, repeats: int, quick: bool = False) -> Iterator[SpeedRow]:
    """Seconds per image: forward, and forward with backward; on the CPU also the shares of its parts."""
    for work in QUICK_WORKLOADS if quick else WORKLOADS:
        gaussians, cameras = pixel_aligned_scene(work, device)
        run = partial(measure, device=device, repeats=repeats)
        name = f"{gaussians.count} Gaussians to {work.side} x {work.side}, {work.channels} + 4 channels"
        with torch.no_grad():
            forward = run(partial(rasterize, gaussians, cameras, (work.side, work.side)))
            row = _row(f"render {name}", forward)
            if device.type == "cpu":
                parts = {part: run(step).best_seconds for part, step in _parts(work, gaussians, cameras).items()}
                parts["blending"] = max(0.0, forward.best_seconds - sum(parts.values()))
                row.details["shares"] = {part: seconds / sum(parts.values()) for part, seconds in parts.items()}
                row.details["note"] = ", ".join(f"{part} {s:.0%}" for part, s in row.details["shares"].items())
        yield row
        yield _row(f"render and backward, {name}", run(partial(_forward_backward, work, gaussians, cameras)))


def _forward_backward(work: RasterizerWorkload, gaussians: Gaussians, cameras: Cameras) -> None:
    leaves = Gaussians(*(getattr(gaussians, field.name).detach().requires_grad_() for field in fields(gaussians)))
    rendering = rasterize(leaves, cameras, (work.side, work.side))
    assert rendering.features is not None
    (rendering.image.square().sum() + rendering.features.square().sum() + rendering.depth.sum()).backward()


def _parts(work: RasterizerWorkload, gaussians: Gaussians, cameras: Cameras) -> dict[str, Callable[[], object]]:
    """The steps in front of blending, each on its own."""
    scene, settings, size = gaussians[0], RasterizationSettings(), (work.side, work.side)
    intrinsics = colmap_from_opencv(cameras.intrinsics[0, 0])
    pose = torch.eye(4)

    def project() -> Splats:
        shape = scene.means, scene.scales, scene.rotations
        return project_gaussians(*shape, pose, intrinsics, size, 0.1, math.inf, settings.eps2d)

    splats = project()
    sort = partial(list_tiles, splats, scene.opacities, size, settings.min_alpha, None, work.channels + 5)
    return {"projection": project, "sorting": sort}


def _row(stage: str, run: Measurement) -> SpeedRow:
    row = SpeedRow("", "float32", stage, run.seconds, frames_per_second=1 / run.seconds, peak_memory=run.peak_memory)
    row.details = {"repeats": run.repeats, "best_seconds": run.best_seconds}
    return row
