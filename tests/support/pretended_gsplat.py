"""gsplat for a pretended GPU: takes what gsplat takes, on the device, and draws with our own tiles on the CPU."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.pretended_gpu import GPU, GpuTensor
from uni3r.gaussians.gaussians import Gaussians
from uni3r.rasterization import RasterizationSettings
from uni3r.rasterization.torch_backend import render_torch


def install(patch: pytest.MonkeyPatch) -> None:
    """Put it in the place of gsplat."""
    module = types.ModuleType("gsplat")
    module.rasterization = rasterization  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "gsplat", module)


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float,
    far_plane: float,
    **_: Any,
) -> tuple[Tensor, Tensor, dict]:
    """(V, H, W, C + 1) values and depth, and (V, H, W, 1) alpha, in the order of ``render_mode="RGB+D"``."""
    for name, tensor in locals().items():
        assert not isinstance(tensor, Tensor) or isinstance(tensor, GpuTensor), f"{name} is not on the GPU"
    here = [tensor.cpu() for tensor in (means, scales, quats, opacities)]
    values, views = colors.cpu(), viewmats.cpu()
    values = values if values.ndim == 3 else values[None]
    # Our colours are the last three; whatever is blended first are features.
    gaussians = Gaussians(*here, torch.zeros(len(means), 1, 3), values[0, :, :-3])
    assert len(values) == 1 or values[..., :-3].equal(values[:1, :, :-3].expand_as(values[..., :-3]))
    size, settings = (height, width), RasterizationSettings()
    drawn = render_torch(gaussians, values[..., -3:], views, Ks.cpu(), size, near_plane, far_plane, settings)
    assert drawn.features is not None
    channels = torch.cat([drawn.features, drawn.image, drawn.depth[:, None]], dim=1).movedim(1, -1)
    return channels.to(GPU), drawn.alpha[..., None].to(GPU), {}
