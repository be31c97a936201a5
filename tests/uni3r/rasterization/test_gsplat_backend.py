"""gsplat on CUDA draws what our own tiles draw on the CPU; without either, what it is called with is checked."""

from __future__ import annotations

import inspect
import sys
import types
from dataclasses import fields

import pytest
import torch

from common.views import Cameras
from uni3r.gaussians.gaussians import Gaussians
from uni3r.profiling.rasterizer import RasterizerWorkload, pixel_aligned_scene
from uni3r.rasterization import RasterizationSettings, rasterize
from uni3r.rasterization.gsplat_backend import render_gsplat

SCENE = RasterizerWorkload(side=40, channels=37)


@pytest.mark.gpu
def test_back_ends_agree() -> None:
    """Values and gradients, 40 channels, i.e. more than gsplat blends at a time."""
    pytest.importorskip("gsplat", reason="gsplat is not installed: bash scripts/setup.sh uni3r")
    results = {}
    for device in ("cpu", "cuda"):
        gaussians, cameras = pixel_aligned_scene(SCENE, torch.device("cpu"))
        gaussians, cameras = gaussians.to(device), cameras.to(device)
        leaves = [getattr(gaussians, field.name).requires_grad_() for field in fields(gaussians)]
        pose = cameras.camera_to_world.requires_grad_()
        rendering = rasterize(Gaussians(*leaves), Cameras(pose, cameras.intrinsics), (40, 40))
        assert rendering.features is not None
        outputs = [rendering.image, rendering.features, rendering.depth, rendering.alpha]
        weights = [torch.linspace(-1, 1, out.numel(), device=device).view_as(out) for out in outputs]
        loss = torch.stack([(out * weight).sum() for out, weight in zip(outputs, weights)]).sum()
        gradients = torch.autograd.grad(loss, [*leaves, pose])
        results[device] = [tensor.detach().cpu() for tensor in (*outputs, *gradients)]
    for ours, theirs in zip(results["cpu"], results["cuda"], strict=True):
        error = (ours - theirs).abs() / ours.abs().max()
        assert (error > 2e-4).float().mean() < 1e-3 and error.max() < 1e-2


@pytest.fixture
def fake_gsplat(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """A module called gsplat that records its calls and returns channels that say which they are."""
    calls: list[dict] = []

    def rasterization(**arguments):
        calls.append(arguments)
        views, channels = len(arguments["viewmats"]), arguments["colors"].shape[-1] + 1
        shape = (views, arguments["height"], arguments["width"])
        return torch.arange(channels).float().expand(*shape, channels), torch.ones(*shape, 1), {}

    module = types.ModuleType("gsplat")
    module.rasterization = rasterization  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat", module)
    return calls


def test_published_call(fake_gsplat: list[dict]) -> None:
    """Features before colours, depth last and not divided by alpha; (height, width) turned to gsplat's arguments."""
    gaussians, cameras = pixel_aligned_scene(RasterizerWorkload(8, 6), torch.device("cpu"))
    scene, colours = gaussians[0], torch.rand(1, 128, 3)
    view = cameras.camera_to_world[0], cameras.intrinsics[0]
    rendering = render_gsplat(scene, colours, *view, (10, 12), 0.1, 9.0, RasterizationSettings())
    (call,) = fake_gsplat
    assert (call["width"], call["height"], call["near_plane"], call["far_plane"]) == (12, 10, 0.1, 9.0)
    assert (call["render_mode"], call["eps2d"], call["rasterize_mode"]) == ("RGB+D", 0.3, "classic")
    assert scene.features is not None
    torch.testing.assert_close(call["colors"], torch.cat([scene.features, colours[0]], dim=1))
    assert rendering.image.shape == (1, 3, 10, 12) and rendering.image[0, :, 0, 0].tolist() == [6, 7, 8]
    assert rendering.features is not None and rendering.features[0, :, 0, 0].tolist() == list(range(6))
    assert float(rendering.depth[0, 0, 0]) == 9 and rendering.alpha.shape == (1, 10, 12)


def test_the_call_fits_the_installed_gsplat(request: pytest.FixtureRequest) -> None:
    """Names of arguments; needs no GPU."""
    gsplat = pytest.importorskip("gsplat", reason="gsplat is not installed: bash scripts/setup.sh uni3r")
    signature = inspect.signature(gsplat.rasterization)
    calls = request.getfixturevalue("fake_gsplat")
    gaussians, cameras = pixel_aligned_scene(RasterizerWorkload(8, 6), torch.device("cpu"))
    view = cameras.camera_to_world[0], cameras.intrinsics[0]
    render_gsplat(gaussians[0], torch.rand(1, 128, 3), *view, (8, 8), 0.1, 9.0, RasterizationSettings())
    signature.bind(**calls[0])


def test_colours_that_differ_between_cameras(fake_gsplat: list[dict]) -> None:
    gaussians, cameras = pixel_aligned_scene(RasterizerWorkload(8, 6), torch.device("cpu"))
    poses, intrinsics = cameras.camera_to_world[0].expand(3, 4, 4), cameras.intrinsics[0].expand(3, 3, 3)
    render_gsplat(gaussians[0], torch.rand(3, 128, 3), poses, intrinsics, (8, 8), 0.1, 9.0, RasterizationSettings())
    assert fake_gsplat[0]["colors"].shape == (3, 128, 9)


def test_thresholds_that_gsplat_cannot_change_are_refused() -> None:
    gaussians, cameras = pixel_aligned_scene(RasterizerWorkload(8, 6), torch.device("cpu"))
    view = cameras.camera_to_world[0], cameras.intrinsics[0]
    with pytest.raises(ValueError, match=r"max_alpha: gsplat is compiled with 0\.999"):
        render_gsplat(
            gaussians[0], torch.rand(1, 128, 3), *view, (8, 8), 0.1, 9.0, RasterizationSettings(max_alpha=0.9)
        )


def test_missing_gsplat_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)
    gaussians, cameras = pixel_aligned_scene(RasterizerWorkload(8, 6), torch.device("cpu"))
    view = cameras.camera_to_world[0], cameras.intrinsics[0]
    with pytest.raises(ImportError, match=r"setup\.sh uni3r"):
        render_gsplat(gaussians[0], torch.rand(1, 128, 3), *view, (8, 8), 0.1, 9.0, RasterizationSettings())
