"""Geometry distillation: pulls the Gaussian centres to the surface that a pointmap teacher predicts.

Uni3R (arXiv 2508.03643) section 3.4. A teacher of pointmaps (there VGGT, here any `PointmapTeacher`) receives the
same views. Its points are aligned with the student's by a similarity without gradient; then every confident student
point is pulled to the *nearest* confident teacher point, which supervises surfaces instead of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor

from common.geometry.alignment import umeyama
from common.geometry.transforms import apply_transform
from common.views import Pointmaps

_DISTANCES_AT_ONCE = 1 << 26
"""Entries of a block of the distance matrix on an accelerator: 256 MB."""


class PointmapTeacher(Protocol):
    """Network from images to pointmaps in one common frame, such as VGGT or SLAM3R's image-to-points network."""

    def __call__(self, images: Tensor) -> Pointmaps:
        """Pointmaps (B, V, h, w) of images (B, V, 3, H, W) in [-1, 1], any frame and scale; without gradient."""
        ...


@dataclass(frozen=True)
class DistillationSettings:
    """Settings of the distillation. The defaults are the published ones."""

    keep: float = 0.9
    """Share of the pixels of a view, by the teacher's confidence, that enter the loss."""
    align_on: Literal["all", "kept"] = "all"
    """Pixels that decide the similarity. The published code takes all, the paper the confident ones."""
    align: Literal["view", "sample"] = "view"
    """One similarity per view (published), or one for all views of a sample, which also supervises the relative
    placement of views."""

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep is a share above 0 and at most 1, got {self.keep}")


def geometry_loss(student: Tensor, teacher: Pointmaps, settings: DistillationSettings | None = None) -> Tensor:
    """Mean squared distance from the confident student points to the nearest confident teacher point.

    Args:
        student: (B, V, H, W, 3) Gaussian centres of the context views; receives the gradient.
        teacher: (B, V, h, w) pointmaps of the same views, any size, frame and scale.
        settings: see `DistillationSettings`.

    Returns:
        Scalar, square of the student's unit: mean over points, then over views and samples.
    """
    settings = settings or DistillationSettings()
    points, confidence = resized_to(teacher, (student.shape[2], student.shape[3]))
    kept = most_confident(confidence, settings.keep)
    aligned = apply_transform(align_teacher(points, student, kept, settings), points.double())
    flat_student, flat_teacher = student.flatten(2, 3), aligned.to(student).flatten(2, 3)
    losses = []
    for sample, mask in enumerate(kept.flatten(2)):
        for view, chosen in enumerate(mask):
            learners, targets = flat_student[sample, view][chosen], flat_teacher[sample, view][chosen]
            nearest = targets[nearest_points(learners.detach(), targets)]
            losses.append((learners - nearest).square().sum(dim=-1).mean())
    return torch.stack(losses).mean()


def resized_to(teacher: Pointmaps, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Points (B, V, H, W, 3) and confidence (B, V, H, W) on the student's grid, each from its nearest teacher pixel
    (row ``floor(i * h / H)``); float32, without gradient."""
    points, confidence = teacher.points.detach().float(), teacher.confidence.detach().float()
    if points.shape[2:4] == size:
        return points, confidence
    packed = torch.cat([points, confidence[..., None]], dim=-1).flatten(0, 1).movedim(-1, 1)
    packed = F.interpolate(packed, size=size, mode="nearest").movedim(1, -1).unflatten(0, points.shape[:2])
    return packed[..., :3], packed[..., 3]


def most_confident(confidence: Tensor, keep: float) -> Tensor:
    """(B, V, H, W) bool: at least the ``floor(keep * H * W)``-th largest confidence of the view, ties included."""
    flat = confidence.flatten(2)
    rank = max(1, int(keep * flat.shape[-1]))
    threshold = flat.topk(rank, dim=-1).values[..., -1:]
    return (flat >= threshold).view_as(confidence)


@torch.no_grad()
def align_teacher(points: Tensor, student: Tensor, kept: Tensor, settings: DistillationSettings) -> Tensor:
    """(B, V, 4, 4) similarities from teacher to student points (both (B, V, H, W, 3)), in double, least squares."""
    source, target = points.double(), student.detach().double()
    weights = (kept if settings.align_on == "kept" else torch.ones_like(kept)).double()
    if settings.align == "view":
        return umeyama(source.flatten(2, 3), target.flatten(2, 3), weights.flatten(2))
    joint = umeyama(source.flatten(1, 3), target.flatten(1, 3), weights.flatten(1))
    return joint[:, None].expand(-1, points.shape[1], -1, -1)


@torch.no_grad()
def nearest_points(queries: Tensor, points: Tensor) -> Tensor:
    """(Q,) index of the nearest of (P, 3) points to each of (Q, 3) queries, exact.

    A k-d tree on the CPU, blocks of the distance matrix elsewhere. Raises ValueError for points that are not finite.
    """
    if not (queries.isfinite().all() and points.isfinite().all()):
        raise ValueError("nearest points of values that are not finite; the network or its teacher has diverged")
    if queries.device.type == "cpu":
        index = cKDTree(points.numpy()).query(queries.numpy(), workers=1)[1]
        return torch.from_numpy(index)
    rows = max(1, _DISTANCES_AT_ONCE // len(points))
    # The matrix-product mode of cdist is too imprecise to distinguish close neighbours.
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cat([torch.cdist(block, points, compute_mode=exact).argmin(dim=1) for block in queries.split(rows)])
