"""Rendering against the published renderer's mathematics: values, and gradients in everything, the camera included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from common.geometry.cameras import opencv_from_colmap
from common.geometry.transforms import invert
from common.views import Cameras
from tests.support.published_rendering import rasterize_at_published_scale
from tests.support.uni3r_parity import header, vectors
from tests.support.vector_files import numbers_of
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.spherical_harmonics import CONSTANT, spherical_harmonics, view_colours
from uni3r.rasterization import RasterizationSettings, Rendering, rasterize
from uni3r.rasterization.projection import gaussian_axes, project_gaussians
from uni3r.rasterization.tiles import list_tiles

FILES = ["render_random", "render_edge", "render_stack", "render_pixels"]
VALUE_TOLERANCE, GRADIENT_TOLERANCE = 5e-5, 2e-4
INPUTS = ["means", "quats", "scales", "opacities", "colors", "features", "viewmats"]


def relative(actual: Tensor, expected: Tensor) -> Tensor:
    """Differences over the largest expected value."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    return (actual.detach() - expected).abs() / expected.abs().max()


def assert_image_close(actual: Tensor, expected: Tensor) -> None:
    """Within the tolerance, but for one pixel in a thousand where a threshold tips to the other side."""
    error = relative(actual, expected)
    assert error.max() <= 5e-3
    assert (error > VALUE_TOLERANCE).float().mean() <= 1e-3, f"error {error.max():.1e}"


def scene_of(given: dict[str, Tensor], inputs: dict[str, Tensor]) -> tuple[Gaussians, Cameras]:
    """One scene in two cameras. The vectors' pixel centres lie at halves, ours at whole numbers."""
    harmonics = (inputs["colors"] - 0.5)[:, None] / CONSTANT
    gaussians = Gaussians(
        inputs["means"], inputs["scales"], inputs["quats"], inputs["opacities"], harmonics, inputs["features"]
    )
    cameras = Cameras(invert(inputs["viewmats"])[None], opencv_from_colmap(given["in.intrinsics"])[None])
    return Gaussians.stack([gaussians]), cameras


def images(rendering: Rendering) -> dict[str, Tensor]:
    """Rendering of the first scene, channels last as in the vectors."""
    assert rendering.features is not None
    return {
        "image": rendering.image[0].movedim(1, -1),
        "features": rendering.features[0].movedim(1, -1),
        "depth": rendering.depth[0, ..., None],
        "alpha": rendering.alpha[0, ..., None],
    }


def loss_of_vectors(out: dict[str, Tensor]) -> Tensor:
    """The loss whose gradients the vectors hold."""
    channels = torch.cat(list(out.values()), dim=-1)
    camera, row, column, channel = (torch.arange(n, dtype=torch.float32) for n in channels.shape)
    phase = camera[:, None, None, None] + 0.11 * row[:, None, None] + 0.07 * column[:, None] + 0.5 * channel
    return (channels * phase.cos()).sum() / (len(row) * len(column))


@pytest.mark.parametrize("tile_size", [None, 4, 8, 16])
@pytest.mark.parametrize("name", FILES)
def test_images_and_gradients(name: str, tile_size: int | None) -> None:
    given, config = vectors(name), header(name)
    inputs = {key: given[f"in.{key}"].clone().requires_grad_() for key in INPUTS}
    gaussians, cameras = scene_of(given, inputs)
    rendering = rasterize(
        gaussians,
        cameras,
        (config["height"], config["width"]),
        near=config["near"],
        far=config["far"],
        settings=RasterizationSettings(tile_size=tile_size),
    )
    out = images(rendering)
    for key, image in out.items():
        assert_image_close(image, given[f"out.{key}"])
    loss = loss_of_vectors(out)
    torch.testing.assert_close(loss.detach(), given["out.loss"][0], rtol=1e-4, atol=1e-5)
    loss.backward()
    for key, tensor in inputs.items():
        assert tensor.grad is not None
        error = float(relative(tensor.grad, given[f"grad.{key}"]).max())
        assert error <= GRADIENT_TOLERANCE, f"{key}: {error:.1e}"


@pytest.mark.parametrize("name", FILES)
def test_clamp_of_the_newer_gsplat(name: str) -> None:
    given, config = vectors(name), header(name)
    gaussians, cameras = scene_of(given, {key: given[f"in.{key}"] for key in INPUTS})
    size, planes = (config["height"], config["width"]), {"near": config["near"], "far": config["far"]}
    rendering = rasterize(gaussians, cameras, size, **planes, settings=RasterizationSettings(max_alpha=0.99))
    assert_image_close(images(rendering)["image"], given["out.image_max_alpha_0.99"])


@pytest.mark.parametrize("name", FILES)
def test_projection(name: str) -> None:
    given, config = vectors(name), header(name)
    size = (config["height"], config["width"])
    for camera in range(len(given["in.viewmats"])):
        shapes = given["in.means"], given["in.scales"], given["in.quats"]
        view = given["in.viewmats"][camera], given["in.intrinsics"][camera]
        splats = project_gaussians(*shapes, *view, size, config["near"], config["far"], config["eps2d"])
        visible = given[f"proj{camera}.visible"].bool()
        torch.testing.assert_close(splats.depths[visible], given[f"proj{camera}.depths"][visible])
        torch.testing.assert_close(
            splats.centres[visible], given[f"proj{camera}.means2d"][visible], rtol=1e-5, atol=1e-4
        )
        first, mixed, second = splats.factors[visible].unbind(1)
        conics = torch.stack([first * first, first * mixed, mixed * mixed + second * second], dim=1)
        assert relative(conics, given[f"proj{camera}.conics"][visible]).max() < 1e-5
        # Ours is the tighter of two exact boxes: it lists nothing that the published one drops.
        listed = list_tiles(splats, given["in.opacities"], size, config_min_alpha(config), 8, 3).splats.unique()
        assert visible[listed].all()
        assert len(listed) > 0.8 * visible.sum()


def config_min_alpha(config: dict) -> float:
    """The vectors hold it as the text of a fraction."""
    numerator, denominator = config["alpha_min"].split("/")
    return float(numerator) / float(denominator)


def test_published_scale() -> None:
    given, config = vectors("render_scaled"), header("render_scaled")
    gaussians = Gaussians(
        given["in.means"],
        given["in.scales"],
        given["in.rotations"],
        given["in.opacities"][:, 0],
        given["in.sh_coeffs"],
        given["in.gs_feats"],
    )
    pose = invert(given["in.world_to_camera"])
    cameras = Cameras(pose[None, None], opencv_from_colmap(given["in.intrinsics"])[None, None])
    size = (config["height"], config["width"])
    rendering = rasterize_at_published_scale(Gaussians.stack([gaussians]), cameras, size, given["in.scale"])
    out = images(rendering)
    for key in ("image", "features", "depth"):
        assert_image_close(out[key], given[f"out.{key}"])


def test_covariance_and_harmonics() -> None:
    given = vectors("covariance_sh")
    axes = gaussian_axes(given["in.scales"], given["in.quaternions"])
    covariances = torch.einsum("ikn,jkn->nij", axes, axes)
    assert relative(covariances, given["out.covariance_wxyz"]).max() < 1e-5
    for degree in numbers_of(given, r"out\.sh_deg(\d+)"):
        basis = spherical_harmonics(given["in.directions"], degree)
        values = torch.einsum("nk,nck->nc", basis, given["in.sh"][..., : basis.shape[1]])
        assert relative(values, given[f"out.sh_deg{degree}"]).max() < 1e-5
    colours = view_colours(given["in.sh"].mT, torch.zeros(len(given["in.sh"]), 3), torch.ones(3), 0)
    assert relative(colours, given["out.colour_as_rendered"]).max() < 1e-5
