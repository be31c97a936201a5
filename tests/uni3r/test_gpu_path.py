"""Uni3R on a GPU gives what it gives on the CPU: pretended here, up to the call of gsplat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import uni3r
from common.training.optim import OptimizerConfig, build_optimizer
from common.views import Cameras
from slam3r.models import ImageToPoints
from slam3r.training.teacher import ImageToPointsTeacher
from tests.support import pretended_gsplat
from tests.support.pretended_gpu import GPUS, pretended_gpu
from tests.support.tiny_scene import SIZES as SLAM3R_SIZES
from tests.support.tiny_uni3r import SIZE, network, photos, room
from uni3r.gaussians.gaussians import Gaussians
from uni3r.models.description import SceneUnit
from uni3r.profiling.rasterizer import RasterizerWorkload, pixel_aligned_scene
from uni3r.rasterization import rasterize
from uni3r.training.objective import GaussianObjective
from uni3r.training.rendering import RenderOptions
from uni3r.training.terms import LossWeights
from uni3r.training.view_selection import ViewSelection

VGGT: dict[str, Any] = {
    "decoder": "alternating",
    "decoder_depth": 4,
    "intrinsics": "token",
    "point_head": "dpt",
    "camera_head": True,
    "depth_head": True,
}


@pytest.fixture(params=GPUS)
def a_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    torch.set_num_threads(1)
    if request.param is pretended_gpu:
        pretended_gsplat.install(monkeypatch)
    else:
        pytest.importorskip("gsplat", reason="gsplat is not installed: bash scripts/setup.sh uni3r")
    return request.param


@pytest.mark.parametrize("changes", [{}, VGGT, {"intrinsics": "token"}], ids=["rays", "vggt", "token"])
def test_forward(changes: dict[str, Any], a_gpu: Any) -> None:
    def predict(device: torch.device | str) -> list[Tensor]:
        views = room()[None].to(device)
        features = torch.linspace(0, 1, 3 * 8 * 4 * 6).view(1, 3, 8, 4, 6).to(device)
        with torch.no_grad():
            found = network(**changes).to(device)(views.images, views.intrinsics, features)
        return [found.gaussians.means.cpu(), found.gaussians.scales.cpu(), found.gaussians.harmonics.cpu()]

    expected = predict("cpu")
    with a_gpu() as gpu:
        actual = predict(gpu)
    for one, other in zip(expected, actual, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sh_degree", [0, None], ids=["one colour", "colour by direction"])
def test_rendering_and_its_gradients(sh_degree: int | None, a_gpu: Any) -> None:
    scene, cameras = pixel_aligned_scene(RasterizerWorkload(16, 5), torch.device("cpu"))

    def render(device: torch.device | str) -> list[Tensor]:
        parts = [value.detach().to(device).requires_grad_() for value in vars(scene).values()]
        pose = cameras.camera_to_world.detach().to(device).requires_grad_()
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            drawn = rasterize(
                Gaussians(*parts), Cameras(pose, cameras.intrinsics.to(device)), (16, 16), sh_degree=sh_degree
            )
        assert drawn.features is not None
        (drawn.image.sum() + drawn.features.sum() + drawn.depth.sum()).backward()
        return [x.detach().cpu() for x in (drawn.image, drawn.features, drawn.depth, drawn.alpha, pose.grad)]

    expected = render("cpu")
    with a_gpu() as gpu:
        actual = render(gpu)
    for one, other in zip(expected, actual, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)


class Teacher(nn.Module):
    """Features by class where there are labels, else by a frozen layer."""

    width = 8

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 1)

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            return nn.functional.one_hot(labels.clamp(max=7), 8).movedim(-1, 2).float()
        return self.layer(images.flatten(0, 1)).unflatten(0, images.shape[:2])


def supervised() -> GaussianObjective:
    return GaussianObjective(
        network(),
        OptimizerConfig(),
        weights=LossWeights(lpips=0, geometry=0, feature=0.2, depth=0.1, pointmap=0.5, ssim=0.2),
        views=ViewSelection(order="interleaved", min_context=2, max_targets=1, render_context_up_to=0, crop=32),
        rendering=RenderOptions(raise_sh_every=1, background="context_mean"),
        unit=SceneUnit("points"),
        teacher=Teacher(),
        feature_residual=False,
        true_poses=True,
        class_weights=[0.5] * 8,
    )


def distilled() -> GaussianObjective:
    return GaussianObjective(
        network(),
        OptimizerConfig(),
        weights=LossWeights(lpips=0, feature=0.5, geometry=1.0, context_feature=0.1),
        teacher=Teacher(),
        target_range="zero_to_one",
        pointmap_teacher=ImageToPointsTeacher(ImageToPoints(**SLAM3R_SIZES)),
    )


@pytest.mark.parametrize("make", [supervised, distilled])
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_training(make: Callable[[], GaussianObjective], autocast: bool, a_gpu: Any) -> None:
    """Training steps, a validation, and its pictures."""

    def learn(device: torch.device | str) -> list[float]:
        torch.manual_seed(0)
        objective, views = make().to(device), room(4)[None].to(device)
        optimizer, _ = build_optimizer(objective, objective.optimizer_config, 10)
        losses = []
        for step in range(2):
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=autocast):
                loss = objective.training_step(views, step)
            loss.backward()
            objective.on_before_optimizer_step(optimizer)
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            assert objective.pictures(views)["novel_views"].ndim == 3
            return [*losses, float(objective.terms(views, training=False)["loss"])]

    expected = learn("cpu")
    with a_gpu() as gpu:
        assert learn(gpu) == pytest.approx(expected, rel=0.05 if autocast else 5e-3)


def test_pictures_to_a_result_folder(tmp_path: Path, a_gpu: Any) -> None:
    """Poses refined by renderings, film, overview, labels, every file."""
    folder = tmp_path / "weights"
    network().save_pretrained(folder)
    inference = {"size": SIZE, "sh_degree": None, "teacher": None, "labels": "rooms", "unit": {"rule": "points"}}
    with a_gpu():
        scene = uni3r.reconstruct(
            photos(tmp_path / "photos", room()),
            {"name": "miniature", "weights": str(folder), "inference": inference},
            tmp_path / "results",
            refinement={"shrink": (8,), "renderings": 1},
            export={"flight": {"frames": 2}, "film_scale": 1, "splat": True, "progress": False},
            progress=False,
            size=SIZE,
        )
        assert scene.gaussians.means.is_cuda
    assert any((tmp_path / "results").glob("*.ply"))
