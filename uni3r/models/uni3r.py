"""Uni3R: unposed images to semantic Gaussians in one forward pass (Sun et al. 2025, arXiv 2508.03643)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from common.geometry.transforms import apply_transform, invert_rigid
from common.views import Pointmaps, TensorFields
from uni3r.gaussians.gaussians import Gaussians
from uni3r.models.attributes import gaussians_from_attributes
from uni3r.models.feature_compressor import FeatureCompressor, resize_features
from uni3r.models.geometry_model import GeometryModel
from uni3r.models.ray_alignment import align_to_rays


@dataclass
class Prediction(TensorFields):
    """Result of one forward pass, in the frame of view 0."""

    gaussians: Gaussians
    """(B, V * H * W): one per pixel, view by view, row-major; the means are the points of ``pointmaps``, or
    these moved to the rays of their pixels (`Uni3RConfig.centres`)."""
    pointmaps: Pointmaps
    """(B, V, H, W, 3) points and (B, V, H, W) confidences, from the point head."""
    camera_to_world: Tensor | None = None
    """(B, V, 4, 4) poses used to place centres on rays, without gradient; NaN for a view without a pose."""
    depth: Tensor | None = None
    """(B, V, H, W); where there is a depth head."""
    depth_confidence: Tensor | None = None
    """(B, V, H, W)."""
    pose_encoding: Tensor | None = None
    """(B, V, 9), see `uni3r.models.pose_encoding`; where there is a camera head."""


class Uni3R(GeometryModel):
    """Backbone, point head and attribute head; the heads are independent of the decoder.

    Training code is not part of it: teachers are built by the training alone, and the teacher's features that the
    published model adds to the Gaussians' are passed in as a tensor.
    """

    ignored_prefixes = ("camera_head.", "depth_head.")
    flexible_sizes = ("checkpointing", "table_side")  # how training saves memory; released files have two sizes
    fresh_prefixes = ("backbone.intrinsics.", "attribute_head.", "feature_compressor.")
    """Parts that weights of VGGT, DUSt3R or SLAM3R lack."""

    def __init__(self, **sizes: Any) -> None:
        """
        Args:
            **sizes: fields of `uni3r.models.config.Uni3RConfig`; what is not given has the published value.
        """
        super().__init__(**sizes)
        self.attribute_head = self.config.build_attribute_head()
        features, teacher = self.config.attributes.feature_channels, self.config.teacher_channels
        self.feature_compressor = FeatureCompressor(features, teacher) if features and teacher else None

    def forward(
        self,
        images: Tensor,
        intrinsics: Tensor | None = None,
        semantic_features: Tensor | None = None,
        camera_to_world: Tensor | None = None,
    ) -> Prediction:
        """
        Args:
            images: (B, V, 3, H, W) in [-1, 1], V from 1 on, sides multiples of the patch size. View 0 is the world.
            intrinsics: (B, V, 3, 3) in pixels; None when they are not known. Released weights were trained with them.
            semantic_features: (B, V, C, h, w) to add to the Gaussians' features at any size: a teacher's maps of
                ``teacher_channels``, which are compressed, or maps of the Gaussians' own ``feature_channels``. Released
                weights expect LSeg's; None adds nothing.
            camera_to_world: (B, V, 4, 4) known poses in the frame of view 0 and the network's unit, for centres on
                rays; None solves them from the points.

        Returns:
            Gaussians and geometry.

        Raises:
            ValueError: image sides are not multiples of the patch size, semantic features have a wrong width, or the
                intrinsics that centres on rays need are missing.
        """
        pyramid = self.backbone(images, intrinsics)
        geometry = self.geometry(pyramid)
        raw = self.attribute_head(pyramid.levels, pyramid.grid, images)
        residual = None
        if semantic_features is not None:
            residual = self._residual(semantic_features, (images.shape[-2], images.shape[-1]))
        points, poses = geometry.pointmaps.points, None
        if self.config.centres == "rays":
            if intrinsics is None:
                raise ValueError("this model puts Gaussians on viewing rays, which needs intrinsics")
            log_depth = raw[..., -1] if self.config.attributes.depth_correction else None
            aligned = align_to_rays(geometry.pointmaps, intrinsics, log_depth, camera_to_world)
            points, poses = aligned.points, aligned.camera_to_world
        gaussians = gaussians_from_attributes(raw, points, self.config.attributes, images.float(), residual)
        least = self.config.attributes.least_pixels
        if poses is not None and intrinsics is not None and least > 0:
            smallest = least * _pixel_sizes(points, poses, intrinsics).flatten(1)[..., None]
            gaussians = replace(gaussians, scales=torch.maximum(gaussians.scales, smallest))
        return Prediction(
            gaussians, geometry.pointmaps, poses, geometry.depth, geometry.depth_confidence, geometry.pose_encoding
        )

    def _residual(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Semantic features as (B, V, F, H, W)."""
        own, teacher = self.config.attributes.feature_channels, self.config.teacher_channels
        if self.feature_compressor is not None and features.shape[2] == teacher:
            return self.feature_compressor.reduce(features.float(), size)
        if features.shape[2] != own:
            known = f"{own} channels" + (f" or the teacher's {teacher}" if teacher else "")
            raise ValueError(f"semantic features: expected {known}, got {features.shape[2]}")
        return resize_features(features.float(), size)

    @classmethod
    def infer_config(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Infer the sizes (see `GeometryModel.infer_config`), for the published layout of attributes."""
        sizes = super().infer_config(state)
        reduction = state.get("feature_compressor.reduction.weight")
        project = state.get("attribute_head.project.2.weight")
        if reduction is not None and project is not None:
            features, sizes["teacher_channels"] = reduction.shape[:2]
            degree = _degree(project.shape[0], features)
            sizes["attributes"] = {"feature_channels": features, "sh_degree": degree}
        return sizes


def _pixel_sizes(points: Tensor, camera_to_world: Tensor, intrinsics: Tensor) -> Tensor:
    """(B, V, H, W) size of a view's pixel at its points (B, V, H, W, 3), in their unit; 0 for views without a pose."""
    depth = apply_transform(invert_rigid(camera_to_world), points)[..., 2]
    focal = (intrinsics[..., 0, 0] * intrinsics[..., 1, 1]).sqrt()
    return (depth / focal[..., None, None]).nan_to_num(0.0).clamp_min(0.0).detach()


def _degree(attribute_channels: int, feature_channels: int) -> int:
    """Degree of the harmonics from the number of raw channels of the published layout (with a predicted colour).

    Raises:
        ValueError: no degree gives that number.
    """
    coefficients = (attribute_channels - 11 - feature_channels) / 3
    degree = math.isqrt(max(0, round(coefficients))) - 1
    if degree < 0 or (degree + 1) ** 2 != coefficients:
        raise ValueError(f"{attribute_channels} attribute channels with {feature_channels} features fit no degree")
    return degree
