"""Training objectives of the SLAM3R networks, one per published stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.backbone import PatchGrid
from common.geometry.normalization import joint_scale
from common.geometry.transforms import apply_transform
from common.training.module import Objective
from common.training.optim import OptimizerConfig
from common.views import Pointmaps, Views
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.models.image_to_points import CORRELATION_LAYERS
from slam3r.training.auxiliary import AuxiliaryHead
from slam3r.training.hidden_tokens import blind_encoder, hide_patches
from slam3r.training.losses import (
    CONFIDENCE_WEIGHT,
    RegistrationInputs,
    Targets,
    clip_distance,
    correlation_loss,
    image_to_points_loss,
    local_to_world_loss,
    points_in_view,
    ray_loss,
    registration_inputs,
)
from slam3r.training.pictures import correlation_panel, pointmap_panel
from slam3r.training.registration_noise import RegistrationNoise
from slam3r.training.retrieval_practice import RetrievalPractice

HIDDEN_PATCHES = 0.75
"""Share of a reference's patches that are hidden where any are; CroCo hides 0.9 of a picture."""


def _select_views(views: Views, count: int, generator: torch.Generator) -> Views:
    """``count`` views of every window in random order; the same choice for the whole batch."""
    order = torch.randperm(views.images.shape[1], generator=generator)[:count]
    return views[:, order]


class ImageToPointsObjective(Objective):
    """I2P: the confidence loss over all views of a window, in the frame of one of them."""

    model: ImageToPoints

    def __init__(
        self,
        model: ImageToPoints,
        optimizer: OptimizerConfig,
        frozen: Sequence[str] = (),
        alpha: float = CONFIDENCE_WEIGHT,
        min_views: int | None = None,
        auxiliary: AuxiliaryHead | None = None,
        max_distance: float | None = None,
        blinded: float = 0.0,
        hidden: float = 0.0,
        rays: float = 0.0,
        retrieval: RetrievalPractice | None = None,
    ) -> None:
        """
        Args:
            alpha: weight of the confidence reward.
            min_views: draw the number of views per step between this and the window's length, and the reference at
                random; None takes the whole window with its middle view as reference (published).
            auxiliary: auxiliary task for the encoder, for networks trained from scratch.
            max_distance: true points at this distance or farther from the reference camera are ignored, in the unit of
                the data; None keeps all (published). For data with sky or unreliable far depth.
            blinded: share of the training windows whose encoder tokens are set to zero, so that the decoder learns
                to see with the stem alone; for networks with a stem.
            hidden: share of the training windows whose reference loses most of its patches, so that the decoder
                learns to find them in the other views.
            rays: weight of `ray_loss`, for data with many lenses.
            retrieval: practice for the learned retrieval beside, so that it follows the decoder that it reads.
        """
        super().__init__(model, optimizer, frozen)
        self.auxiliary = auxiliary
        self.max_distance = max_distance
        self.alpha = alpha
        self.min_views = min_views
        self.blinded = blinded
        self.hidden = hidden
        self.rays = rays
        self.retrieval = retrieval

    def terms(self, views: Views, training: bool) -> dict[str, Tensor]:
        """See `slam3r.training.losses.image_to_points_loss`."""
        reference = views.images.shape[1] // 2
        if training and self.min_views is not None:
            generator = torch.Generator().manual_seed(self.global_step)
            count = int(torch.randint(self.min_views, views.images.shape[1] + 1, (), generator=generator))
            views, reference = _select_views(views, count, generator), 0
        tokens, grid = self.model.encode(views.images)
        if training and self.blinded:
            tokens = blind_encoder(tokens, self.model.config.encoder_width, self.blinded)
        if training and self.hidden:
            tokens = hide_patches(tokens, reference, (grid.height, grid.width), self.hidden, HIDDEN_PATCHES)
        predicted = self.model(tokens, grid, reference)
        targets = points_in_view(views, reference)
        if self.max_distance is not None:
            targets = clip_distance(targets, self.max_distance)
        terms = image_to_points_loss(predicted, targets, self.alpha)
        result = {**terms, "regression": terms["regression"] / views.images.shape[1]}
        if self.rays:
            own = Targets(targets.points[:, reference], targets.valid[:, reference])
            result["rays"] = ray_loss(predicted.points[:, reference], own)
            result["loss"] = result["loss"] + self.rays * result["rays"]
        if training and self.retrieval is not None and self.retrieval.due(self.global_step):
            result["retrieval"] = self.retrieval.loss(self.model, self.global_step)
            result["loss"] = result["loss"] + self.retrieval.weight * result["retrieval"]
        if self.auxiliary is not None:
            extra = self.auxiliary(tokens, views)
            result["loss"] = result["loss"] + extra.pop("loss")
            result.update(extra)
        return result

    def pictures(self, views: Views) -> dict[str, NDArray[np.uint8]]:
        """Draw the prediction, scaled to the truth, since its own scale is arbitrary."""
        assert views.camera_to_world is not None
        reference = views.images.shape[1] // 2
        predicted = self.model(*self.model.encode(views.images), reference)
        targets = points_in_view(views, reference)
        scale = joint_scale(targets.points, targets.valid) / joint_scale(predicted.points, targets.valid)
        points = predicted.points * scale.view(-1, 1, 1, 1, 1)
        world = apply_transform(views.camera_to_world[:, reference : reference + 1], points)
        return {"pointmaps": pointmap_panel(views, Pointmaps(world, predicted.confidence))}


class CorrelationObjective(Objective):
    """Trains only the correlation head, which predicts the confidences of the frozen network."""

    model: ImageToPoints

    def __init__(self, model: ImageToPoints, optimizer: OptimizerConfig) -> None:
        super().__init__(model, optimizer, frozen=[r"(?!correlation_head\.)"])

    def terms(self, views: Views, training: bool) -> dict[str, Tensor]:
        """See `slam3r.training.losses.correlation_loss`. The reference is the middle view, as published."""
        logits, confidence, _ = self._score(views)
        return correlation_loss(logits, confidence)

    def pictures(self, views: Views) -> dict[str, NDArray[np.uint8]]:
        """Draw predicted scores beside the confidences."""
        reference = views.images.shape[1] // 2
        sources = torch.cat([views.images[:, :reference], views.images[:, reference + 1 :]], dim=1)
        logits, confidence, grid = self._score(views)
        return {"correlation": correlation_panel(sources[0], logits[0], confidence[0], (grid.height, grid.width))}

    def _score(self, views: Views) -> tuple[Tensor, Tensor, PatchGrid]:
        """Correlation logits (B, S, N), the confidences (B, S, H, W) of the full pass, and the patch grid."""
        reference = views.images.shape[1] // 2
        model = self.model
        with torch.no_grad():
            tokens, grid = model.encode(views.images)
            sources = torch.cat([tokens[:, :reference], tokens[:, reference + 1 :]], dim=1)
            streams = model.decode(tokens[:, reference : reference + 1], sources, grid, want_references=False)
            confidence = 1 + model.source_head(streams.sources, grid)[..., 3].exp()
        return model.correlation_head(streams.sources[CORRELATION_LAYERS].float()), confidence, grid


class LocalToWorldObjective(Objective):
    """L2W: registration of sources, given in their own frames, into the world of the references."""

    model: LocalToWorld

    def __init__(
        self,
        model: LocalToWorld,
        image_to_points: ImageToPoints,
        optimizer: OptimizerConfig,
        frozen: Sequence[str] = (),
        alpha: float = CONFIDENCE_WEIGHT,
        num_references: int = 6,
        min_views: int | None = None,
        noise: RegistrationNoise | None = None,
        with_references: bool = True,
    ) -> None:
        """
        Args:
            model: the network to train.
            image_to_points: provides the image tokens; its encoder is frozen.
            alpha: weight of the confidence reward.
            num_references: views after the first that serve as references; the rest are sources.
            min_views: draw the number of views per step between this and the window's length, shuffled, and split
                them at random; None takes the window as it is (published).
            noise: perturbation of the input pointmaps; None uses the truth (published).
            with_references: also train the refinement of the references (published). The reconstruction does not use
                it, and as an easy task with high confidence it dominates the gradient of a small network.
        """
        super().__init__(model, optimizer, frozen)
        self.tokenizer = image_to_points.requires_grad_(False)
        self.alpha = alpha
        self.num_references = num_references
        self.min_views = min_views
        self.noise = noise
        self.with_references = with_references

    def terms(self, views: Views, training: bool) -> dict[str, Tensor]:
        """See `slam3r.training.losses.registration_inputs` and `local_to_world_loss`."""
        num_references = self.num_references
        generator = torch.Generator().manual_seed(self.global_step if training else 0)
        if training and self.min_views is not None:
            count = int(torch.randint(self.min_views, views.images.shape[1] + 1, (), generator=generator))
            views = _select_views(views, count, generator)
            # One view is dropped; at least one reference and one source remain.
            num_references = int(torch.randint(1, count - 1, (), generator=generator))
        inputs = registration_inputs(views, num_references)
        if self.noise is not None:
            inputs = self.noise(inputs, generator)
        references, sources = self._register(views, inputs)
        targets = inputs.targets
        if references is None:
            targets = Targets(targets.points[:, num_references:], targets.valid[:, num_references:])
            terms = local_to_world_loss(sources, targets, self.alpha)
            return {**terms, "regression": terms["regression_per_view"].mean()}
        terms = local_to_world_loss(_joined(references, sources), targets, self.alpha)
        per_view = terms["regression_per_view"]
        # The sources are what the reconstruction uses.
        measures = {
            "regression": per_view[num_references:].mean(),
            "regression_references": per_view[:num_references].mean(),
        }
        return {**terms, **measures}

    def pictures(self, views: Views) -> dict[str, NDArray[np.uint8]]:
        """Draw registered pointmaps in the world of the poses, in metres; from true pointmaps, without noise."""
        assert views.camera_to_world is not None
        inputs = registration_inputs(views, self.num_references)
        references, sources = self._register(views, inputs)
        shown, predicted = views[:, 1 + self.num_references :], sources
        if references is not None:
            shown, predicted = views[:, 1:], _joined(references, sources)
        points = predicted.points * inputs.scale.view(-1, 1, 1, 1, 1)
        world = apply_transform(views.camera_to_world[:, :1], points)
        return {"pointmaps": pointmap_panel(shown, Pointmaps(world, predicted.confidence))}

    def _register(self, views: Views, inputs: RegistrationInputs) -> tuple[Pointmaps | None, Pointmaps]:
        """World pointmaps of the references (None unless they are trained) and of the sources."""
        num_references = inputs.reference_points.shape[1]
        with torch.no_grad():
            tokens, grid = self.tokenizer.encode(views.images[:, 1:])
        return self.model(
            tokens[:, :num_references],
            inputs.reference_points,
            tokens[:, num_references:],
            inputs.source_points,
            grid,
            want_references=self.with_references,
        )


def _joined(references: Pointmaps, sources: Pointmaps) -> Pointmaps:
    return Pointmaps(
        torch.cat([references.points, sources.points], dim=1),
        torch.cat([references.confidence, sources.confidence], dim=1),
    )
