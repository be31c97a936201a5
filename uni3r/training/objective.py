"""Training objective: context views to Gaussians, Gaussians to renderings, renderings to losses.

Uni3R (arXiv 2508.03643) sections 3.3 and 3.4. The published recipe and our corrections are values of the same options:
see ``configs/experiment/uni3r_*.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.checkpoints.hub import initialized
from common.training.module import Objective
from common.training.optim import OptimizerConfig
from common.views import Pointmaps, Views
from uni3r.models.description import SceneUnit
from uni3r.models.scene_unit import cameras_in_unit, scene_unit
from uni3r.models.uni3r import Prediction, Uni3R
from uni3r.rasterization import Rendering
from uni3r.rasterization.background import over_background
from uni3r.scene.renderings import color_image, depth_image, depth_range
from uni3r.semantics.teacher import Teacher
from uni3r.training.frozen import Frozen
from uni3r.training.geometry_distillation import DistillationSettings, PointmapTeacher, geometry_loss
from uni3r.training.rendering import RenderOptions, render_targets
from uni3r.training.terms import (
    RENDERED_TERMS,
    LossWeights,
    Perceptual,
    color_terms,
    depth_term,
    feature_term,
    pointmap_term,
)
from uni3r.training.view_selection import ViewSelection, random_crop, split_views


def network_from(sizes: Mapping[str, Any], start: str | Path | None = None, heads: str | Path | None = None) -> Uni3R:
    """Build a network to train.

    Args:
        sizes: fields of `uni3r.models.config.Uni3RConfig`.
        start: hub id, folder or file of weights of Uni3R, or of VGGT, DUSt3R or SLAM3R (I2P) where they fit the sizes;
            None initializes randomly.
        heads: hub id, folder or file of weights of Uni3R, for what `start` lacks: the attribute heads, where it is no
            Uni3R. None for none.

    Raises:
        CheckpointError: tensors are missing or have another shape; the message names them.
    """
    model = Uni3R(**sizes)
    initialized(model, heads, ("backbone.", "point_head."))
    initialized(model, start, model.fresh_prefixes)
    return model


class GaussianObjective(Objective):
    """Rendering losses of the predicted Gaussians against the true views."""

    model: Uni3R

    def __init__(
        self,
        model: Uni3R,
        optimizer: OptimizerConfig,
        frozen: Sequence[str] = (),
        weights: LossWeights | None = None,
        views: ViewSelection | None = None,
        rendering: RenderOptions | None = None,
        unit: SceneUnit | None = None,
        teacher: Teacher | None = None,
        target_range: Literal["zero_to_one", "minus_one_to_one"] = "minus_one_to_one",
        feature_residual: bool = True,
        pointmap_teacher: PointmapTeacher | None = None,
        distillation: DistillationSettings | None = None,
        distill_up_to: int | None = 2,
        perceptual: Perceptual | None = None,
        true_poses: bool = False,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        """
        Args:
            model: the network to train.
            optimizer: hyper-parameters.
            frozen: regular expressions of parameter names that do not learn.
            weights: weights of the loss terms.
            views: choice of context and rendered views.
            rendering: rendering options.
            unit: unit of length of the network's world.
            teacher: teacher of the language features; not needed if their weight is 0.
            target_range: range of the images that the teacher receives for its targets: [0, 1] as published, [-1, 1]
                as teachers expect.
            feature_residual: add the teacher's features of the context to those of the Gaussians (published). Off for
                teachers that read labels, which are unavailable at inference.
            pointmap_teacher: teacher of the geometry; not needed if its weight is 0.
            distillation: settings of the geometry distillation.
            distill_up_to: no distillation with more context views than this (published: 2); None has no limit.
            perceptual: perceptual distance for the term ``lpips``.
            true_poses: for models with centres on rays: in training, place them by the true poses of the context, so
                that depth and appearance learn from sharp renderings while the points, and so the poses, are still
                inaccurate. Validation always uses the model's own poses.
            class_weights: pixel weights by class in the feature term, for data with labels; None weights all pixels
                equally (published). See `uni3r.training.losses.pixel_weights`.

        Raises:
            ValueError: a term has a weight but lacks what it needs, or a class weight is negative.
        """
        super().__init__(model, optimizer, frozen)
        self.weights, self.views = weights or LossWeights(), views or ViewSelection()
        self.rendering, self.unit = rendering or RenderOptions(), unit or SceneUnit()
        self.target_range, self.feature_residual = target_range, feature_residual
        self.true_poses = true_poses
        if class_weights is not None and (min(class_weights) < 0 or max(class_weights) == 0):
            raise ValueError(f"class_weights: expected numbers of at least 0, not all of them 0, got {class_weights}")
        self.class_weights = None if class_weights is None else torch.tensor([float(one) for one in class_weights])
        self.distillation, self.distill_up_to = distillation or DistillationSettings(), distill_up_to
        needs = {"feature": teacher, "context_feature": teacher, "geometry": pointmap_teacher, "lpips": perceptual}
        for name, part in needs.items():
            if getattr(self.weights, name) and part is None:
                raise ValueError(f"the loss term {name} has a weight, but nothing to compute it with")
        self._teacher, self._pointmap_teacher, self._perceptual = map(Frozen, (teacher, pointmap_teacher, perceptual))

    def terms(self, views: Views, training: bool) -> dict[str, Tensor]:
        """Loss terms of `LossWeights` by name, their weighted sum ``loss``, and metrics.

        The metrics are ``psnr`` of the rendered views (dB, pooled) and ``regression``, the mean distance of the
        Gaussian centres from the truth over the mean distance of the true points from camera 0.
        """
        generator = torch.Generator().manual_seed(self.global_step) if training else None
        split = split_views(views.images.shape[1], self.views, generator)
        context, rendered = views[:, split.context], views[:, split.rendered]
        if generator is not None and self.views.crop is not None:
            rendered = random_crop(rendered, self.views.crop, generator)
        with self._full_precision():
            unit = scene_unit(context, self.unit)
        prediction = self._predict(context, unit if training and self.true_poses else None)
        wanted = vars(self.weights)
        with self._full_precision():
            terms: dict[str, Tensor] = {}
            if any(wanted[name] for name in RENDERED_TERMS):
                terms |= self._rendered_terms(prediction, context, rendered, unit)
            if self.weights.context_feature:
                features = prediction.gaussians.features
                assert features is not None, "the model's Gaussians have no features"
                pixels = context.images.shape[-2:]
                maps = features.unflatten(1, (context.images.shape[1], *pixels)).movedim(-1, 2)
                terms["context_feature"] = self._feature_term(maps, context)
            terms |= self._geometry_terms(prediction, context, unit)
            parts = [wanted[name] * value for name, value in terms.items() if wanted.get(name)]
            terms["loss"] = torch.stack(parts).sum()
        return terms

    def _full_precision(self) -> torch.autocast:
        """Disable autocast, which would compute poses and points with about three digits."""
        return torch.autocast(self.device.type, enabled=False)

    def _predict(self, context: Views, unit: Tensor | None = None) -> Prediction:
        """Gaussians of the context; with a unit, centres on rays are placed by the true poses."""
        residual = poses = None
        if self.feature_residual and self.weights.feature:
            residual = self._teacher.on(self.device).features(context.images)
        if unit is not None:
            assert context.camera_to_world is not None, "training views need poses"
            with self._full_precision():
                poses = cameras_in_unit(context, context.camera_to_world[:, 0], unit).camera_to_world
        return self.model(context.images, context.intrinsics, residual, poses)

    def _rendered_terms(
        self, prediction: Prediction, context: Views, rendered: Views, unit: Tensor
    ) -> dict[str, Tensor]:
        rendering = self._render(prediction, context, rendered, unit)
        seen = (context.images + 1) / 2
        image = over_background(rendering, seen, self.rendering.background)
        perceptual = self._perceptual.on(self.device) if self.weights.lpips else None
        terms = color_terms(image, (rendered.images + 1) / 2, self.weights, perceptual)
        if self.weights.feature:
            assert rendering.features is not None, "the model's Gaussians have no features"
            terms["feature"] = self._feature_term(rendering.features, rendered)
        if self.weights.depth:
            terms["depth"] = depth_term(rendering, rendered.depth, unit)
        return terms

    def _render(self, prediction: Prediction, context: Views, rendered: Views, unit: Tensor) -> Rendering:
        degree = self.rendering.sh_degree(self.model.config.attributes.sh_degree, self.global_step)
        return render_targets(prediction.gaussians, context, rendered, unit, self.rendering, degree)

    def _feature_term(self, features: Tensor, views: Views) -> Tensor:
        """Distance of features (B, V, C, h, w) from the teacher's of the same views."""
        images = (views.images + 1) / 2 if self.target_range == "zero_to_one" else views.images
        with torch.no_grad():
            target = self._teacher.on(self.device).features(images, views.labels)
        return feature_term(features, target, views.labels, self.class_weights, self.model.feature_compressor)

    def _geometry_terms(self, prediction: Prediction, context: Views, unit: Tensor) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        asked = self.distill_up_to is None or context.images.shape[1] <= self.distill_up_to
        if self.weights.geometry and asked:
            with torch.no_grad():
                seen: Pointmaps = self._pointmap_teacher.on(self.device)(context.images)
            terms["geometry"] = geometry_loss(prediction.pointmaps.points, seen, self.distillation)
        if self.weights.pointmap:
            terms["pointmap"], terms["regression"] = pointmap_term(prediction.pointmaps, context, unit)
        return terms

    def pictures(self, views: Views) -> dict[str, NDArray[np.uint8]]:
        """The rendered views: truth above, rendering in the middle, depth below."""
        split = split_views(views.images.shape[1], self.views, None)
        context, rendered = views[:, split.context], views[:, split.rendered]
        prediction = self._predict(context)
        with self._full_precision():
            rendering = self._render(prediction, context, rendered, scene_unit(context, self.unit))
        near, far = depth_range(rendering.depth, rendering.alpha)
        columns = []
        for index, truth in enumerate(rendered.images[0]):
            depth = depth_image(rendering.depth[0, index], rendering.alpha[0, index], near, far)
            columns.append(
                np.concatenate([color_image((truth + 1) / 2), color_image(rendering.image[0, index]), depth])
            )
        return {"novel_views": np.concatenate(columns, axis=1)}
