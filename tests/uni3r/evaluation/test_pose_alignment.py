"""Test-time pose alignment against the published run, and the parametrization of its correction."""

from __future__ import annotations

import pytest
import torch

from common.geometry.cameras import opencv_from_colmap
from common.geometry.transforms import invert_rigid
from common.views import Cameras
from tests.support.parity import assert_close
from tests.support.uni3r_parity import header, vectors
from tests.support.vector_files import numbers_of
from uni3r.evaluation.pose_alignment import (
    PoseAlignmentSettings,
    Render,
    align_poses,
    corrected_pose,
    delta_transform,
    rotation_from_6d,
)
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.spherical_harmonics import CONSTANT
from uni3r.rasterization import rasterize


def test_published_parametrization() -> None:
    given = vectors("poses")
    assert_close(rotation_from_6d(given["in.rotation_6d"]), given["out.rotation_6d_matrix"], 1e-5)
    assert_close(delta_transform(given["in.pose_delta"])[..., :3, :3], given["out.delta_rotation"], 1e-5)
    moved = corrected_pose(given["in.world_to_camera"], given["in.pose_delta"])
    assert_close(invert_rigid(moved), given["out.corrected_world_to_camera"], 1e-5)


def test_no_correction_is_the_identity() -> None:
    torch.testing.assert_close(delta_transform(torch.zeros(2, 9)), torch.eye(4).expand(2, 4, 4))


def _published_scene() -> tuple[Render, Cameras, torch.Tensor, dict[str, torch.Tensor], dict]:
    """Renderer of the scene of the vectors, first camera, and the picture (1, 3, H, W)."""
    given, config = vectors("pose_alignment"), header("pose_alignment")
    scene = Gaussians(
        given["in.means"],
        given["in.scales"],
        given["in.quats"],
        given["in.opacities"],
        ((given["in.colors"] - 0.5) / CONSTANT)[:, None],
    )
    size = (config["height"], config["width"])
    start = invert_rigid(given["in.world_to_camera_start"])
    cameras = Cameras(start[None], opencv_from_colmap(given["in.intrinsics"])[None])
    batch = Gaussians.stack([scene])

    def render(moved: Cameras) -> torch.Tensor:
        lifted = Cameras(moved.camera_to_world[None], moved.intrinsics[None])
        return rasterize(batch, lifted, size, near=config["near"], far=config["far"]).image[0]

    return render, cameras, given["in.target_image"].movedim(-1, 0)[None], given, config


def test_published_gradient() -> None:
    """Gradient of the colour error by the nine numbers, at the start."""
    render, cameras, target, given, _ = _published_scene()
    delta = torch.zeros(1, 9, requires_grad=True)
    poses = corrected_pose(invert_rigid(cameras.camera_to_world), delta)
    (render(Cameras(poses, cameras.intrinsics)) - target).abs().mean().backward()
    assert_close(delta.grad[0], given["out.first_gradient"].flatten(), 1e-3)


def test_published_run() -> None:
    render, cameras, target, given, config = _published_scene()
    settings = PoseAlignmentSettings(config["steps"], config["lr"])
    found = align_poses(render, cameras, target, settings)
    expected = given["out.loss_trajectory"]
    torch.testing.assert_close(found.losses[:10], expected[:10], rtol=1e-3, atol=0)
    assert found.losses[-1] < 0.15 * found.losses[0]
    error = (invert_rigid(found.cameras.camera_to_world[0]) - given["true.world_to_camera"]).abs().max()
    assert float(error) < 3e-3
    for steps in numbers_of(given, r"out\.delta_after_(\d+)"):
        part = align_poses(render, cameras, target, PoseAlignmentSettings(steps + 1, config["lr"]))
        # Adam divides by the size of the gradient: entries near zero are noise.
        assert (part.delta[0] - given[f"out.delta_after_{steps}"]).abs().max() < 2e-4 * steps


def test_steps_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PoseAlignmentSettings(steps=0)
