"""SLAM3R on a GPU gives what it gives on the CPU: pretended here, where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import slam3r
from common.training.module import Objective
from common.training.optim import OptimizerConfig, build_optimizer
from slam3r.reconstruction import Networks, ReconstructionSettings, Reconstructor, RegisteredFrame
from slam3r.training.auxiliary import AuxiliaryHead
from slam3r.training.objectives import CorrelationObjective, ImageToPointsObjective, LocalToWorldObjective
from slam3r.training.registration_noise import RegistrationNoise
from tests.support.pretended_gpu import GPUS, GpuTensor, pretended_gpu
from tests.support.tiny_scene import SIZES, photos, room, save_weights, tiny_models

PUBLISHED = ReconstructionSettings(
    stride_max=2, window_radius=2, initial_window=3, initial_confidence=0, num_scene_frames=3, buffer_size=4
)
PLACED = ReconstructionSettings(
    keyframe_stride=2,
    window_radius=1,
    initial_window=3,
    initial_confidence=0,
    num_scene_frames=2,
    normalize_input=True,
    rigid_registration=True,
    rigid_neighbours=2,
    rigid_tracks=True,
    memory_chunk=1,
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def registered(
    device: torch.device | str, settings: ReconstructionSettings, dtype: torch.dtype
) -> list[RegisteredFrame]:
    """Frames of a video whose reconstruction is saved and resumed in the middle."""
    images, networks = room(9, (32, 48)).images, Networks(*tiny_models(), device, dtype)
    first, second = Reconstructor(networks, settings), Reconstructor(networks, settings)
    done = first.push(images[:6])
    second.load_state_dict(first.state_dict())
    return done + second.push(images[6:]) + second.flush()


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [(PUBLISHED, torch.float32), (PLACED, torch.float32), (PLACED, torch.bfloat16)],
    ids=["published", "placed as a whole", "placed as a whole in bfloat16"],
)
@pytest.mark.parametrize("a_gpu", GPUS)
def test_reconstruction(settings: ReconstructionSettings, dtype: torch.dtype, a_gpu: Any) -> None:
    expected = registered("cpu", settings, dtype)
    with a_gpu() as gpu:
        actual = registered(gpu, settings, dtype)
    assert len(actual) == len(expected) == 9
    for one, other in zip(expected, actual, strict=True):
        assert not isinstance(other.world_points, GpuTensor)
        # The CPU does large batches in parts, which rounds differently.
        error = (other.world_points - one.world_points).abs() / one.world_points.abs().mean()
        assert error.mean() < (1e-3 if dtype == torch.float32 else 0.05)
        assert other.colors.numpy().shape == (32, 48, 3)


def test_pictures_to_a_result_folder(tmp_path: Path) -> None:
    """Reader threads, dtype by the device, refinement, every file."""
    pictures = photos(tmp_path / "photos", 7)
    weights = save_weights(tmp_path / "weights")
    model = {"name": "miniature", "weights": {n: str(weights / n) for n in ("image_to_points", "local_to_world")}}
    with pretended_gpu():
        scene = slam3r.reconstruct(
            pictures,
            {**model, "sizes": SIZES},
            tmp_path / "results",
            settings={"keyframe_stride": 2, "initial_window": 3},
            export={"confidence": 1.0, "depths": True},
            refinement="dense",
            save_predictions=True,
            size=(48, 64),
            progress=False,
        )
    assert len(scene.frames) == 7 and scene.points.shape[0] > 0
    assert (tmp_path / "results" / "depths").is_dir()


def image_to_points(min_views: int | None) -> Objective:
    torch.manual_seed(1)
    auxiliary = None if min_views is None else AuxiliaryHead(SIZES["encoder_width"])
    distance = None if min_views is None else 4.0
    return ImageToPointsObjective(
        tiny_models()[0], OptimizerConfig(), min_views=min_views, auxiliary=auxiliary, max_distance=distance
    )


def local_to_world(noise: RegistrationNoise | None) -> Objective:
    image_to_points, network = tiny_models()
    views = None if noise is None else 3
    return LocalToWorldObjective(
        network, image_to_points, OptimizerConfig(), num_references=2, min_views=views, noise=noise
    )


OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "image to points": lambda: image_to_points(None),
    "image to points, number of views drawn, second task": lambda: image_to_points(3),
    "correlation": lambda: CorrelationObjective(tiny_models()[0], OptimizerConfig()),
    "local to world": lambda: local_to_world(None),
    "local to world, noise": lambda: local_to_world(RegistrationNoise()),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("a_gpu", GPUS)
def test_training(name: str, autocast: bool, a_gpu: Any) -> None:
    """A training step, a validation, and the pictures of a validation."""

    def learn(device: torch.device | str) -> list[float]:
        objective, views = OBJECTIVES[name]().to(device), room(5, (32, 48))[None].to(device)
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
            terms = objective.terms(views, training=False)
            assert all(isinstance(picture.shape, tuple) for picture in objective.pictures(views).values())
        return [*losses, float(terms["loss"])]

    expected = learn("cpu")
    with a_gpu() as gpu:
        assert learn(gpu) == pytest.approx(expected, rel=0.03 if autocast else 1e-3)
