"""Which views of a window the network sees, which are rendered, and in what unit the world is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from common.geometry.cameras import unproject_to_world
from common.geometry.normalization import divide_by_scale, joint_scale
from common.geometry.transforms import apply_transform, invert_rigid
from common.views import Cameras, Views

UnitRule = Literal["two_view", "metric", "first_last", "points"]


@dataclass(frozen=True)
class ViewSelection:
    """How a window becomes a training sample. The defaults are the published ones."""

    order: Literal["context_first", "interleaved"] = "context_first"
    """``context_first``: the window's first half (rounded up) is the context, the rest are targets. ``interleaved``:
    the window is a piece of video, every second view is context, those between are targets."""
    min_context: int | None = None
    """Interleaved windows: draw the number of context views per step between this and all; None takes all."""
    max_targets: int | None = None
    """Render so many targets at most, drawn per step; None renders all."""
    render_context_up_to: int = 2
    """With so many context views or fewer, these are rendered as well (published: with two)."""
    crop: int | None = None
    """Side of a random square of each rendered view, pixels; None renders whole views. For training only."""


@dataclass(frozen=True)
class Split:
    """Indices into the views of a window."""

    context: list[int]
    rendered: list[int]


def split_views(count: int, selection: ViewSelection, generator: torch.Generator | None) -> Split:
    """Choose context and rendered views of a window.

    Args:
        count: views of the window.
        selection: the rule.
        generator: of the draws; None draws nothing and takes all context views and the first targets.

    Raises:
        ValueError: for a window of fewer than two views.
    """
    if count < 2:
        raise ValueError(f"a window needs a context view and a target at least, got {count} views")
    if selection.order == "context_first":
        context = list(range((count + 1) // 2))
        targets = list(range(len(context), count))
    else:
        most = (count + 1) // 2
        chosen = most
        start = 0
        if generator is not None and selection.min_context is not None:
            chosen = int(torch.randint(min(selection.min_context, most), most + 1, (), generator=generator))
            start = int(torch.randint(0, count - (2 * chosen - 1) + 1, (), generator=generator))
        context = list(range(start, start + 2 * chosen - 1, 2))
        targets = list(range(start + 1, start + 2 * chosen - 2, 2)) or [start + 1]
    if selection.max_targets is not None and len(targets) > selection.max_targets:
        order = range(len(targets)) if generator is None else torch.randperm(len(targets), generator=generator).tolist()
        targets = sorted(targets[index] for index in list(order)[: selection.max_targets])
    also = context if len(context) <= selection.render_context_up_to else []
    return Split(context, also + targets)


@dataclass(frozen=True)
class SceneUnit:
    """The length that is one in the world of a network: what true poses are divided by."""

    rule: UnitRule = "two_view"
    """``two_view``: distance of the first two context cameras (published with 2 views); ``first_last``: of the first
    and the last; ``metric``: a metre (published with 8 and 16 views); ``points``: from the true depth of the context,
    see below."""
    points_distance: float = 1.0
    """With ``points``: mean distance of the context's points from camera 0 in the world of the network. DUSt3R and
    SLAM3R are trained without regard to it; a network that begins with their weights keeps the one they have."""


def scene_unit(context: Views, settings: SceneUnit) -> Tensor:
    """(B,) unit of each scene, metres."""
    rule, poses = settings.rule, context.camera_to_world
    assert poses is not None, "the unit of a scene needs poses"
    if rule == "metric":
        return poses.new_ones(len(poses))
    if rule == "points":
        assert context.depth is not None, "the unit of the points needs depth"
        points, valid = context_points(context)
        return joint_scale(points, valid) / settings.points_distance
    if rule not in ("two_view", "first_last"):
        raise ValueError(f"unknown unit {rule!r}; use two_view, first_last, metric or points")
    other = 1 if rule == "two_view" else -1
    distance = (poses[:, other, :3, 3] - poses[:, 0, :3, 3]).norm(dim=-1)
    return distance.clamp_min(1e-6)


def cameras_in_unit(views: Views, reference: Tensor, unit: Tensor) -> Cameras:
    """Cameras (B, V) in the frame of the reference camera (B, 4, 4), with positions over the unit (B,)."""
    assert views.camera_to_world is not None and views.intrinsics is not None
    poses = invert_rigid(reference)[:, None] @ views.camera_to_world
    poses[..., :3, 3] = divide_by_scale(poses[..., :3, 3], unit)
    return Cameras(poses, views.intrinsics)


def context_points(context: Views) -> tuple[Tensor, Tensor]:
    """True points (B, V, H, W, 3) in the frame of camera 0, metres, and which are valid (B, V, H, W)."""
    assert context.depth is not None and context.intrinsics is not None and context.camera_to_world is not None
    valid = (context.depth > 0) & context.depth.isfinite()
    world = unproject_to_world(torch.where(valid, context.depth, 0.0), context.intrinsics, context.camera_to_world)
    return apply_transform(invert_rigid(context.camera_to_world[:, 0]), world), valid


def random_crop(views: Views, side: int, generator: torch.Generator) -> Views:
    """A square of every view, elsewhere in each; intrinsics are those of the crop."""
    height, width = views.images.shape[-2:]
    if side > min(height, width):
        raise ValueError(f"a crop of {side} pixels does not fit into views of {height} x {width}")
    crops = []
    for index in range(views.images.shape[1]):
        top = int(torch.randint(height - side + 1, (), generator=generator))
        left = int(torch.randint(width - side + 1, (), generator=generator))
        crops.append(_cropped(views[:, index], slice(top, top + side), slice(left, left + side)))
    stacked = Views.stack(crops)
    return stacked._map(lambda tensor: tensor.movedim(0, 1))


def _cropped(view: Views, rows: slice, columns: slice) -> Views:
    """One view (B, ..) per item, cropped."""
    intrinsics = view.intrinsics
    if intrinsics is not None:
        intrinsics = intrinsics.clone()
        intrinsics[..., 0, 2] -= columns.start
        intrinsics[..., 1, 2] -= rows.start
    return replace(
        view,
        images=view.images[..., rows, columns].contiguous(),
        depth=None if view.depth is None else view.depth[..., rows, columns].contiguous(),
        labels=None if view.labels is None else view.labels[..., rows, columns].contiguous(),
        intrinsics=intrinsics,
    )
