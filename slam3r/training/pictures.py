"""Visualizations of the SLAM3R networks' predictions for a training window."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.data.sources.preprocess import denormalize
from common.drawing.colors import color_confidence, color_depth, color_scores, depth_limits
from common.drawing.panel import draw_panel
from common.drawing.preview import render_preview
from common.drawing.settings import PreviewStyle
from common.geometry.transforms import apply_transform, invert_rigid
from common.views import Pointmaps, Views

_STYLE = PreviewStyle(hide_backs=False)


def pointmap_panel(views: Views, predicted: Pointmaps) -> NDArray[np.uint8]:
    """Frames, true and predicted depth, confidence, and the predicted cloud from above.

    Args:
        views: (1, V, ..) with depth and poses.
        predicted: (1, V, ..) pointmaps in the world of the poses, metres.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    assert views.depth is not None and views.camera_to_world is not None
    poses = views.camera_to_world[0].float()
    images = denormalize(views.images[0]).cpu().numpy()
    depth = apply_transform(invert_rigid(poses), predicted.points[0].float())[..., 2].cpu().numpy()
    truth, confidence = views.depth[0].cpu().numpy(), predicted.confidence[0].float().cpu().numpy()
    limits = depth_limits(truth)
    highest = float(np.quantile(confidence, 0.98))
    rows = {
        "input": list(images),
        "true depth": [color_depth(map_, limits) for map_ in truth],
        "predicted depth": [color_depth(map_, limits) for map_ in depth],
        f"confidence, 1 to {highest:.1f}": [color_confidence(map_, highest) for map_ in confidence],
    }
    width = max(320, len(images) * images.shape[2])
    sure = confidence >= np.median(confidence)
    points = np.where(sure[..., None], predicted.points[0].float().cpu().numpy(), np.nan)
    cloud = render_preview(points, images, poses.cpu().numpy(), (width // 2, width), _STYLE)
    return draw_panel({**rows, "predicted points, the surer half": [cloud]}, width)


def correlation_panel(images: Tensor, logits: Tensor, confidence: Tensor, grid: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw source frames, their correlation scores as predicted per patch, and the confidences of the full pass.

    Args:
        images: (S, 3, H, W) in [-1, 1].
        logits: (S, N) correlation logits.
        confidence: (S, H, W) of the full pass.
        grid: rows and columns of the N patches.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    # Both on the scale of the loss: x / (1 + x) of x = confidence - 1.
    foretold = torch.sigmoid(logits.float()).unflatten(-1, grid)
    foretold = torch.nn.functional.interpolate(foretold[:, None], images.shape[-2:])[:, 0].cpu().numpy()
    actual = (1 - 1 / confidence.float()).cpu().numpy()
    return draw_panel(
        {
            "source": list(denormalize(images).cpu().numpy()),
            "foretold": [color_scores(map_, 0, 1) for map_ in foretold],
            "confidence of the full pass": [color_scores(map_, 0, 1) for map_ in actual],
        }
    )
