"""Training objectives of the SLAM3R networks, one per published stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.training.module import Objective
from common.training.optim import OptimizerConfig
from common.views import Pointmaps, Views
from slam3r.auxiliary import AuxiliaryHead
from slam3r.losses import (
    CONFIDENCE_WEIGHT,
    Targets,
    correlation_loss,
    image_to_points_loss,
    local_to_world_loss,
    points_in_view,
    registration_inputs,
)
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.models.image_to_points import CORRELATION_LAYERS
from slam3r.registration_noise import RegistrationNoise


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
    ) -> None:
        """
        Args:
            alpha: weight of the confidence reward.
            min_views: draw the number of views per step between this and the window's length, and the reference at
                random; None takes the whole window with its middle view as reference (published).
            auxiliary: a second task for the encoder; for networks that start from nothing.
        """
        super().__init__(model, optimizer, frozen)
        self.auxiliary = auxiliary
        self.alpha = alpha
        self.min_views = min_views

    def terms(self, views: Views, training: bool) -> dict[str, Tensor]:
        """See `slam3r.losses.image_to_points_loss`."""
        reference = views.images.shape[1] // 2
        if training and self.min_views is not None:
            generator = torch.Generator().manual_seed(self.global_step)
            count = int(torch.randint(self.min_views, views.images.shape[1] + 1, (), generator=generator))
            views, reference = _select_views(views, count, generator), 0
        tokens, grid = self.model.encode(views.images)
        predicted = self.model(tokens, grid, reference)
        terms = image_to_points_loss(predicted, points_in_view(views, reference), self.alpha)
        result = {**terms, "regression": terms["regression"] / views.images.shape[1]}
        if self.auxiliary is not None:
            extra = self.auxiliary(tokens, views)
            result["loss"] = result["loss"] + extra.pop("loss")
            result.update(extra)
        return result


class CorrelationObjective(Objective):
    """Only the correlation head learns: it foretells the confidences that the frozen network gives."""

    model: ImageToPoints

    def __init__(self, model: ImageToPoints, optimizer: OptimizerConfig) -> None:
        super().__init__(model, optimizer, frozen=[r"(?!correlation_head\.)"])

    def terms(self, views: Views, training: bool) -> dict[str, Tensor]:
        """See `slam3r.losses.correlation_loss`. The reference is the middle view, as published."""
        reference = views.images.shape[1] // 2
        model = self.model
        with torch.no_grad():
            tokens, grid = model.encode(views.images)
            sources = torch.cat([tokens[:, :reference], tokens[:, reference + 1 :]], dim=1)
            streams = model.decoder(tokens[:, reference : reference + 1], sources, grid, want_references=False)
            confidence = 1 + model.source_head(streams.sources, grid)[..., 3].exp()
        return correlation_loss(model.correlation_head(streams.sources[CORRELATION_LAYERS].float()), confidence)


class LocalToWorldObjective(Objective):
    """L2W: sources given in their own frames must come out in the world of the references."""

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
            image_to_points: gives the image tokens; its encoder does not learn here.
            alpha: weight of the confidence reward.
            num_references: views after the first that serve as references; the rest are sources.
            min_views: draw the number of views per step between this and the window's length, shuffled, and split
                them at random; None takes the window as it is (published).
            noise: what pointmaps suffer before the network sees them; None gives it the truth (published).
            with_references: also learn to refine the references (published). The reconstruction does not use that,
                and being easy, hence confident, it takes most of the gradient of a small network.
        """
        super().__init__(model, optimizer, frozen)
        self.tokenizer = image_to_points.requires_grad_(False)
        self.alpha = alpha
        self.num_references = num_references
        self.min_views = min_views
        self.noise = noise
        self.with_references = with_references

    def terms(self, views: Views, training: bool) -> dict[str, Tensor]:
        """See `slam3r.losses.registration_inputs` and `local_to_world_loss`."""
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
        with torch.no_grad():
            tokens, grid = self.tokenizer.encode(views.images[:, 1:])
        references, sources = self.model(
            tokens[:, :num_references],
            inputs.reference_points,
            tokens[:, num_references:],
            inputs.source_points,
            grid,
            want_references=self.with_references,
        )
        targets = inputs.targets
        if references is None:
            targets = Targets(targets.points[:, num_references:], targets.valid[:, num_references:])
            terms = local_to_world_loss(sources, targets, self.alpha)
            return {**terms, "regression": terms["regression_per_view"].mean()}
        predicted = Pointmaps(
            torch.cat([references.points, sources.points], dim=1),
            torch.cat([references.confidence, sources.confidence], dim=1),
        )
        terms = local_to_world_loss(predicted, targets, self.alpha)
        per_view = terms["regression_per_view"]
        # The sources are what the reconstruction uses.
        measures = {
            "regression": per_view[num_references:].mean(),
            "regression_references": per_view[:num_references].mean(),
        }
        return {**terms, **measures}
