"""Choice of the context and target views of a training window, and random crops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from common.views import Views


@dataclass(frozen=True)
class ViewSelection:
    """Rule by which a window becomes a training sample. The defaults are the published ones."""

    order: Literal["context_first", "interleaved"] = "context_first"
    """``context_first``: the window's first half (rounded up) is the context, the rest are targets. ``interleaved``:
    the window is a piece of video, every second view is context, those between are targets."""
    min_context: int | None = None
    """Interleaved windows: draw the number of context views per step between this and all; None takes all."""
    max_targets: int | None = None
    """Largest number of rendered targets, drawn per step; None renders all."""
    render_context_up_to: int = 2
    """Up to this number of context views, these are rendered as well (published: two)."""
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
        generator: random generator; None takes all context views and the first targets.

    Raises:
        ValueError: the window has fewer than two views.
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


def random_crop(views: Views, side: int, generator: torch.Generator) -> Views:
    """Crop a square at a different random place in every view, with its intrinsics."""
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
