"""Losses of the SLAM3R networks, as pure functions that return named terms.

SLAM3R, Liu, Dong et al., CVPR 2025, equations 3 and 5 and the supplement; the confidence loss is DUSt3R's (Wang et
al. 2024, equation 4). All sums run over views, not means: that is how the published weights were trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from common.geometry.cameras import unproject_depth
from common.geometry.normalization import divide_by_scale, joint_scale
from common.geometry.transforms import apply_transform, invert_rigid
from common.views import Pointmaps, Views

CONFIDENCE_WEIGHT = 0.2
"""Alpha of the confidence loss in all published recipes."""


@dataclass
class Targets:
    """Target pointmaps with their validity."""

    points: Tensor
    """(B, V, H, W, 3)."""
    valid: Tensor
    """(B, V, H, W) bool."""


def camera_points(views: Views) -> Targets:
    """Every view's own true pointmap in its own camera frame, metres."""
    assert views.depth is not None and views.intrinsics is not None, "training views need depth and intrinsics"
    valid = (views.depth > 0) & views.depth.isfinite()
    return Targets(unproject_depth(torch.where(valid, views.depth, 0.0), views.intrinsics), valid)


def points_in_view(views: Views, index: int) -> Targets:
    """True pointmaps of all views in the camera frame of view ``index``, metres."""
    assert views.camera_to_world is not None, "training views need poses"
    own = camera_points(views)
    reference_from_world = invert_rigid(views.camera_to_world[:, index : index + 1])
    return Targets(apply_transform(reference_from_world @ views.camera_to_world, own.points), own.valid)


def clip_distance(targets: Targets, limit: float) -> Targets:
    """Mark points at ``limit`` or farther from the origin as invalid."""
    return Targets(targets.points, targets.valid & (targets.points.norm(dim=-1) < limit))


def regression_per_view(points: Tensor, targets: Targets) -> Tensor:
    """(V,) mean distance between prediction and truth over all valid pixels of the batch; 0 without any."""
    distance = _masked_distance(points, targets)
    return distance.sum(dim=(0, 2, 3)) / targets.valid.sum(dim=(0, 2, 3)).clamp(min=1)


def confidence_per_view(
    predicted: Pointmaps, points: Tensor, targets: Targets, alpha: float = CONFIDENCE_WEIGHT
) -> Tensor:
    """(V,) mean of ``distance * C - alpha * log C`` over all valid pixels of the batch; 0 without any."""
    terms = _masked_distance(points, targets) * predicted.confidence - alpha * predicted.confidence.log()
    terms = torch.where(targets.valid, terms, torch.zeros_like(terms))
    return terms.sum(dim=(0, 2, 3)) / targets.valid.sum(dim=(0, 2, 3)).clamp(min=1)


def _masked_distance(points: Tensor, targets: Targets) -> Tensor:
    difference = torch.where(targets.valid[..., None], points - targets.points, torch.zeros_like(points))
    return difference.norm(dim=-1)


def image_to_points_loss(
    predicted: Pointmaps, targets: Targets, alpha: float = CONFIDENCE_WEIGHT, normalize_truth: bool = True
) -> dict[str, Tensor]:
    """I2P objective: the confidence loss after normalizing both sides to unit scale jointly over all views.

    Args:
        predicted: (B, V, ..) of all views, in the reference camera frame.
        targets: the same for the truth (`points_in_view`).
        alpha: weight of the confidence reward.
        normalize_truth: if false, only the prediction is normalized (``gt_scale`` of the published losses, for truth
            that already has unit scale).

    Returns:
        ``loss`` (confidence loss, summed over views), ``regression`` (mean distance, summed over views), and the
        per-view terms of both, (V,).
    """
    points = divide_by_scale(predicted.points, joint_scale(predicted.points, targets.valid))
    truth = targets
    if normalize_truth:
        scale = joint_scale(targets.points, targets.valid)
        truth = Targets(divide_by_scale(targets.points, scale), targets.valid)
    return _terms(predicted, points, truth, alpha)


def local_to_world_loss(predicted: Pointmaps, targets: Targets, alpha: float = CONFIDENCE_WEIGHT) -> dict[str, Tensor]:
    """L2W objective: the confidence loss in the unit of the input (`registration_inputs`), without normalization."""
    return _terms(predicted, predicted.points, targets, alpha)


def _terms(predicted: Pointmaps, points: Tensor, targets: Targets, alpha: float) -> dict[str, Tensor]:
    confidence = confidence_per_view(predicted, points, targets, alpha)
    regression = regression_per_view(points, targets)
    return {
        "loss": confidence.sum(),
        "regression": regression.sum(),
        "confidence_per_view": confidence,
        "regression_per_view": regression,
    }


def correlation_loss(logits: Tensor, confidence: Tensor) -> dict[str, Tensor]:
    """Loss of the correlation head, which predicts the source confidences of a full pass.

    Args:
        logits: (B, S, N) correlation logits of the sources.
        confidence: (B, S, H, W) confidences from the heads for the same sources.

    Returns:
        ``loss``, summed over sources, and ``per_source`` (S,), batch means.
    """
    guess = logits.exp().mean(dim=-1)
    truth = (confidence - 1).mean(dim=(-1, -2))
    per_source = (guess / (1 + guess) - truth / (1 + truth)).abs().mean(dim=0)
    return {"loss": per_source.sum(), "per_source": per_source}


def overlap_loss(logits: Tensor, overlap: Tensor) -> Tensor:
    """Cross-entropy between the retrieval's scores and the share of the surface that two views have in common.

    The published loss has the scores follow the confidences of a full pass, which tell near views from far ones only
    where the network has learnt to doubt far ones. This one needs true depth and poses.

    Args:
        logits: (Q, C, N) correlation logits of the candidates.
        overlap: (Q, C) in [0, 1].
    """
    # The score is m / (1 + m) with the mean m of exp(logits): a sigmoid of log m.
    log_mean = logits.float().logsumexp(dim=-1) - math.log(logits.shape[-1])
    return F.binary_cross_entropy_with_logits(log_mean, overlap)


def ray_loss(points: Tensor, targets: Targets) -> Tensor:
    """Mean distance between the unit rays of predicted and of true points, in the camera's own frame: its lens.

    In the distance between points, an error of the focal length is small beside one of the depth.

    Args:
        points: (B, H, W, 3).
        targets: (B, ..).
    """
    distance = _masked_distance(
        F.normalize(points, dim=-1), Targets(F.normalize(targets.points, dim=-1), targets.valid)
    )
    return distance.sum() / targets.valid.sum().clamp(min=1)


@dataclass
class RegistrationInputs:
    """Inputs and targets of L2W in training."""

    reference_points: Tensor
    """(B, R, H, W, 3) true world pointmaps of the references over ``scale``; 0 where invalid."""
    source_points: Tensor
    """(B, S, H, W, 3) true camera pointmaps of the sources, each over its own scale; 0 where invalid."""
    targets: Targets
    """(B, R + S, ..) true world pointmaps of all over ``scale``."""
    scale: Tensor
    """(B,) joint scale of the references in the world."""


def registration_inputs(views: Views, num_references: int) -> RegistrationInputs:
    """Build one L2W training item.

    The first view only gives the world frame and is dropped; the next ``num_references`` are references, the rest
    sources.

    Args:
        views: (B, 1 + R + S, ..) with depth, poses and intrinsics.
        num_references: R.
    """
    world = points_in_view(views, 0)
    points, valid = world.points[:, 1:], world.valid[:, 1:]
    scale = joint_scale(points[:, :num_references], valid[:, :num_references])
    points = divide_by_scale(points, scale)
    camera = camera_points(views)
    sources = camera.points[:, 1 + num_references :]
    source_valid = camera.valid[:, 1 + num_references :]
    own_scale = joint_scale(sources.flatten(0, 1)[:, None], source_valid.flatten(0, 1)[:, None])
    sources = sources / own_scale.view(*sources.shape[:2], 1, 1, 1)
    return RegistrationInputs(
        torch.where(valid[:, :num_references, ..., None], points[:, :num_references], 0.0),
        torch.where(source_valid[..., None], sources, 0.0),
        Targets(points, valid),
        scale,
    )
