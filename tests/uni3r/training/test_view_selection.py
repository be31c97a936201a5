"""Views that are seen and rendered, and their unit; crops are the same camera."""

from __future__ import annotations

import pytest
import torch

from common.geometry.cameras import project_world, unproject_to_world
from common.rooms import room_seed, room_sequence
from common.views import Views
from tests.support.parity import assert_close
from tests.support.uni3r_parity import vectors
from uni3r.models.description import SceneUnit
from uni3r.models.scene_unit import cameras_in_unit, context_points, scene_unit
from uni3r.training.view_selection import ViewSelection, random_crop, split_views

PUBLISHED = ViewSelection()
VIDEO = ViewSelection(order="interleaved", min_context=2, max_targets=2, render_context_up_to=0)


@pytest.mark.parametrize(("count", "context", "rendered"), [(3, 2, 3), (4, 2, 4), (7, 4, 3), (15, 8, 7), (31, 16, 15)])
def test_published_split(count: int, context: int, rendered: int) -> None:
    split = split_views(count, PUBLISHED, None)
    assert split.context == list(range(context))
    assert split.rendered[-(count - context) :] == list(range(context, count))
    assert len(split.rendered) == rendered


def test_video_windows_put_targets_between_context_views() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(50):
        split = split_views(7, VIDEO, generator)
        seen.add(len(split.context))
        assert all(second - first == 2 for first, second in zip(split.context, split.context[1:]))
        assert all(target - 1 in split.context and target + 1 in split.context for target in split.rendered)
        assert len(split.rendered) <= 2
    assert seen == {2, 3, 4}
    assert split_views(7, VIDEO, None) == split_views(7, VIDEO, None)


def test_a_window_needs_two_views() -> None:
    with pytest.raises(ValueError, match="at least"):
        split_views(1, PUBLISHED, None)


@pytest.fixture(scope="module")
def window() -> Views:
    return room_sequence(room_seed("held_out", 0, 3), 3, (32, 48))[None]


def test_units(window: Views) -> None:
    moved = (window.camera_to_world[0, :, :3, 3] - window.camera_to_world[0, 0, :3, 3]).norm(dim=-1)
    assert scene_unit(window, SceneUnit("metric")) == pytest.approx(1.0)
    assert scene_unit(window, SceneUnit("two_view")) == pytest.approx(float(moved[1]), rel=1e-4)
    assert scene_unit(window, SceneUnit("first_last")) == pytest.approx(float(moved[2]), rel=1e-4)
    points, valid = context_points(window)
    unit = scene_unit(window, SceneUnit("points", points_distance=9.0))
    assert float((points / unit).norm(dim=-1)[valid].mean()) == pytest.approx(9.0, rel=1e-4)


@pytest.mark.parametrize("rule", ["two_view", "first_last", "metric"])
def test_published_normalization(rule: str) -> None:
    """Unit and poses of the published code: three context views and two targets."""
    given = vectors("poses")
    poses = given["in.camera_to_world"][None]
    intrinsics = torch.eye(3).expand(1, 5, 3, 3)
    views = Views(torch.zeros(1, 5, 3, 4, 4), None, poses, intrinsics)
    unit = scene_unit(views[:, :3], SceneUnit(rule))
    assert_close(unit, given[f"out.scale_{rule}"], 1e-5)
    cameras = cameras_in_unit(views, poses[:, 0], unit)
    assert_close(cameras.camera_to_world[0], given[f"out.normalised_{rule}"], 1e-5)


def test_cameras_and_points_agree(window: Views) -> None:
    """A true point, in the unit, projects to the pixel it came from."""
    unit = scene_unit(window, SceneUnit("points"))
    cameras = cameras_in_unit(window, window.camera_to_world[:, 0], unit)
    torch.testing.assert_close(cameras.camera_to_world[0, 0], torch.eye(4), atol=1e-5, rtol=0)
    points, _ = context_points(window)
    pixels, _ = project_world(points[0] / unit, cameras.intrinsics[0], cameras.camera_to_world[0])
    torch.testing.assert_close(pixels[1, 10, 20], torch.tensor([20.0, 10.0]), atol=1e-2, rtol=0)


def test_a_crop_is_the_same_camera(window: Views) -> None:
    crop = random_crop(window, 16, torch.Generator().manual_seed(1))
    assert crop.images.shape == (1, 3, 3, 16, 16)
    whole = unproject_to_world(window.depth, window.intrinsics, window.camera_to_world)[0]
    part = unproject_to_world(crop.depth, crop.intrinsics, crop.camera_to_world)[0]
    for view in range(3):
        left = round(float(window.intrinsics[0, view, 0, 2] - crop.intrinsics[0, view, 0, 2]))
        top = round(float(window.intrinsics[0, view, 1, 2] - crop.intrinsics[0, view, 1, 2]))
        expected = whole[view, top : top + 16, left : left + 16]
        torch.testing.assert_close(part[view], expected, atol=1e-4, rtol=0)
        image = window.images[0, view, :, top : top + 16, left : left + 16]
        torch.testing.assert_close(crop.images[0, view], image)


def test_a_crop_must_fit(window: Views) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        random_crop(window, 40, torch.Generator())
