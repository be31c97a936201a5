"""Scores of a model on one window: novel views, their labels and their depth, with and without pose alignment.

The protocol is Uni3R's (arXiv 2508.03643, section 4), from LSM (Fan et al. 2024): context views in, the views between
them out, at their true poses brought into the world of the network. Whether poses are aligned to the scored images,
which published figures do without mention, is a choice here and stated in the notes of the benchmarks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from common.data.sources.preprocess import denormalize
from common.evaluation.benchmark import Row
from common.metrics.aligned_depth import score_aligned_depth
from common.metrics.image import ImageScore, score_images
from common.metrics.lpips import Lpips
from common.metrics.segmentation import confusion_matrices, score_confusion
from common.ranges import Positive
from common.refinement.pictures import working_picture
from common.views import Cameras, Views
from uni3r.evaluation.pose_alignment import PoseAlignmentSettings, align_poses
from uni3r.gaussians.gaussians import Gaussians
from uni3r.models.ray_alignment import estimate_poses
from uni3r.models.scene_unit import cameras_in_unit, scene_unit
from uni3r.models.uni3r import Prediction
from uni3r.posing.matched_cameras import match_cameras
from uni3r.posing.refinement import refine_context
from uni3r.posing.settings import MatchedCameraSettings, RefinementSettings
from uni3r.pretrained import ReadyUni3R
from uni3r.rasterization import Rendering, rasterize
from uni3r.rasterization.background import over_background
from uni3r.semantics.query import Query
from uni3r.semantics.teacher import Teacher


@dataclass(frozen=True)
class ProtocolSettings:
    """Inputs of the model, and alignment of poses."""

    true_poses: bool = False
    """Tell the network the poses of the context (models with centres on rays). Off: pictures and intrinsics only."""
    refine: bool = True
    """Refine the context's own poses on the context pictures; only for centres on rays, and without true poses."""
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    matched: MatchedCameraSettings = field(default_factory=lambda: MatchedCameraSettings(mode="off"))
    """Then match the context's poses in its pictures, with known intrinsics; where `refine` is on."""
    alignment: PoseAlignmentSettings = field(default_factory=PoseAlignmentSettings)
    """Alignment of the target poses on the target images, in units of the distance of the context cameras."""
    near: Positive = 0.1
    """Metres."""
    far: Positive = 100.0
    """Metres."""


@dataclass(frozen=True)
class WindowScore:
    """Scores of one window."""

    row: Row
    confusion: Tensor | None
    """(targets, K, K + 1) of the aligned renderings; None without labels or words."""


class WindowScorer:
    """Scores a model on many windows."""

    def __init__(
        self,
        model: ReadyUni3R,
        settings: ProtocolSettings,
        teacher: Teacher | None,
        lpips: Lpips | None,
    ) -> None:
        """
        Args:
            model: model to score.
            settings: see `ProtocolSettings`.
            teacher: the model's teacher; None leaves labels out.
            lpips: None leaves LPIPS out; made for [0, 1] images (`ImageRange`), as published.
        """
        self.network = model.network.eval()
        self.model, self.device, self.settings, self.teacher = model, model.device, settings, teacher
        if isinstance(teacher, torch.nn.Module):
            teacher.to(model.device)
        self.lpips = None if lpips is None else lpips.to(model.device)

    def score(self, views: Views, context: Sequence[int], targets: Sequence[int], query: Query | None) -> WindowScore:
        """Score one window.

        Args:
            views: (V, ..) with poses and intrinsics, depth in metres, and labels where there are any.
            context: indices of the views that the network sees; the first is the world.
            targets: indices of the scored views.
            query: the classes of the labels, in their order; None leaves labels out.
        """
        views = views.to(self.device)
        seen, hidden = views[list(context)][None], views[list(targets)][None]
        start = time.perf_counter()
        prediction, poses = self._predict(seen)
        seconds = time.perf_counter() - start
        unit = self._unit(seen, poses)
        cameras = cameras_in_unit(hidden, _first_pose(seen), unit)
        pictures = (seen.images + 1) / 2
        plain = self._render(prediction, cameras, hidden, unit, pictures)
        aligned, residual = self._aligned(prediction, cameras, hidden, unit, poses, pictures)
        truth = (hidden.images[0] + 1) / 2
        row: Row = {**_image_columns(self._image_score(aligned, truth), "")}
        row |= _image_columns(self._image_score(plain, truth), "_unaligned")
        row |= _baselines(pictures[0], truth)
        best = max(float(row["psnr_nearest"] or 0), float(row["psnr_mean_colour"] or 0))
        row["psnr_gain"] = float(row["psnr"] or 0) - best
        confusion = None
        if query is not None and hidden.labels is not None and aligned.features is not None:
            confusion = self._confusion(aligned, hidden.labels[0], query)
            label_score = score_confusion(confusion)
            row |= {"miou": label_score.mean_iou, "pixel_accuracy": label_score.pixel_accuracy}
        if hidden.depth is not None and bool((hidden.depth > 0).any()):
            row |= _depth_columns(aligned, hidden.depth[0])
        row |= {"alignment_residual": residual, "seconds": seconds}
        return WindowScore(row, confusion)

    @torch.no_grad()
    def gaussians(self, views: Views, context: Sequence[int]) -> tuple[Gaussians, Tensor, float]:
        """Build the Gaussians of context views.

        Args:
            views: see `score`.
            context: indices of the views that the network sees; the first is the world.

        Returns:
            Gaussians (1, N), the poses (C, 4, 4) by which they are placed, and the metres in a unit of their world.
        """
        seen = views.to(self.device)[list(context)][None]
        prediction, poses = self._predict(seen)
        return prediction.gaussians, poses, float(self._unit(seen, poses)[0])

    @torch.no_grad()
    def _predict(self, seen: Views) -> tuple[Prediction, Tensor]:
        """Gaussians, and the context's poses (C, 4, 4) by which they are placed, in the frame of view 0."""
        residual = None
        if self.teacher is not None and self.network.feature_compressor is not None:
            residual = self.teacher.features(seen.images)
        on_rays = self.network.config.centres == "rays"
        given = None
        if self.settings.true_poses and on_rays:
            unit = scene_unit(seen, self.model.settings.unit)
            given = cameras_in_unit(seen, _first_pose(seen), unit).camera_to_world
        prediction = self.network(seen.images, seen.intrinsics, residual, given)
        own = prediction.camera_to_world
        if own is None:
            assert seen.intrinsics is not None
            return prediction, estimate_poses(prediction.pointmaps, seen.intrinsics)[0]
        can_refine = given is None and bool(own.isfinite().all()) and own.shape[1] > 1
        if self.settings.refine and can_refine:
            assert seen.intrinsics is not None
            cameras = Cameras(own[0], seen.intrinsics[0])
            own = refine_context(prediction.gaussians, cameras, (seen.images[0] + 1) / 2, self.settings.refinement)[
                None
            ]
            prediction = self.network(seen.images, seen.intrinsics, residual, own)
            return self._match(seen, prediction, own[0])
        return prediction, own[0]

    def _match(self, seen: Views, prediction: Prediction, own: Tensor) -> tuple[Prediction, Tensor]:
        """Gaussians and poses (C, 4, 4) after the matching of cameras; as they were where it does not win."""
        settings = self.settings.matched
        if settings.mode == "off":
            return prediction, own
        assert seen.intrinsics is not None
        same, side = torch.eye(3, dtype=torch.float64), settings.cameras.long_side
        images = denormalize(seen.images[0].cpu()).numpy()
        pictures = [working_picture(image, same, view, str(view), side) for view, image in enumerate(images)]
        cameras, confidence = Cameras(own, seen.intrinsics[0]), prediction.pointmaps.confidence[0]
        found = match_cameras(prediction.gaussians, cameras, confidence, pictures, settings, known_intrinsics=True)
        return replace(prediction, gaussians=found.gaussians), found.cameras.camera_to_world

    def _unit(self, seen: Views, poses: Tensor) -> Tensor:
        """(1,) metres per unit of the network's world.

        By the model's rule if that needs only poses or they were given; else the ratio of the distances of the context
        cameras from the first, since depth that a benchmark scores must not be used.
        """
        rule = self.model.settings.unit
        if self.settings.true_poses or rule.rule != "points":
            return scene_unit(seen, rule)
        assert seen.camera_to_world is not None
        true = cameras_in_unit(seen, _first_pose(seen), torch.ones(1, device=self.device)).camera_to_world[0]
        usable = poses.isfinite().all(dim=(-2, -1))
        lengths = [moved[usable, :3, 3].norm(dim=-1).sum() for moved in (true, poses)]
        if float(lengths[1]) < 1e-6:
            raise ValueError("the context has no poses, or no motion: the target views have no place in its world")
        return (lengths[0] / lengths[1])[None]

    def _render(self, prediction: Prediction, cameras: Cameras, hidden: Views, unit: Tensor, seen: Tensor) -> Rendering:
        """Over the background that the model has; ``seen`` are its context pictures (1, C, 3, H, W) in [0, 1]."""
        rendering = rasterize(
            prediction.gaussians,
            cameras,
            (hidden.images.shape[-2], hidden.images.shape[-1]),
            near=self.settings.near / float(unit),
            far=self.settings.far / float(unit),
            sh_degree=self.model.settings.sh_degree,
        )
        return replace(rendering, image=over_background(rendering, seen, self.model.settings.background))

    def _aligned(
        self,
        prediction: Prediction,
        cameras: Cameras,
        hidden: Views,
        unit: Tensor,
        poses: Tensor,
        seen: Tensor,
    ) -> tuple[Rendering, float]:
        """The rendering after pose alignment, and the colour error that is left, as a share of what it began with."""
        frozen = replace(prediction, gaussians=prediction.gaussians._map(lambda tensor: tensor.detach()))
        coloured = replace(frozen, gaussians=replace(frozen.gaussians, features=None))  # all that the loss needs

        def render(moved: Cameras) -> Tensor:
            lifted = Cameras(moved.camera_to_world[None], moved.intrinsics[None])
            return self._render(coloured, lifted, hidden, unit, seen).image[0]

        distances = poses[poses.isfinite().all(dim=(-2, -1)), :3, 3].norm(dim=-1)
        length = float(distances.max()) if len(distances) > 1 else 1.0
        settings = replace(self.settings.alignment, unit=max(length, 1e-6))
        start = Cameras(cameras.camera_to_world[0], cameras.intrinsics[0])
        found = align_poses(render, start, (hidden.images[0] + 1) / 2, settings)
        final = Cameras(found.cameras.camera_to_world[None], cameras.intrinsics)
        with torch.no_grad():
            return self._render(frozen, final, hidden, unit, seen), float(found.losses[-1] / found.losses[0])

    def _image_score(self, rendering: Rendering, truth: Tensor) -> ImageScore:
        return score_images(rendering.image[0].detach(), truth, self.lpips)

    def _confusion(self, rendering: Rendering, labels: Tensor, query: Query) -> Tensor:
        assert rendering.features is not None
        features, compressor = rendering.features, self.network.feature_compressor
        with torch.no_grad():
            if compressor is not None:
                features = compressor.expand(features)
            size = (labels.shape[-2], labels.shape[-1])
            predicted = query.to(self.device).segment(features[0], dim=-3, size=size)
        return confusion_matrices(predicted, labels, len(query.labels)).cpu()


def _first_pose(seen: Views) -> Tensor:
    """(1, 4, 4) true pose of view 0."""
    assert seen.camera_to_world is not None, "scoring needs true poses"
    return seen.camera_to_world[:, 0]


def _image_columns(score: ImageScore, suffix: str) -> Row:
    row: Row = {f"psnr{suffix}": score.psnr_pooled, f"ssim{suffix}": score.ssim_mean}
    if score.lpips_mean is not None:
        row[f"lpips{suffix}"] = score.lpips_mean
    return row


def _baselines(seen: Tensor, truth: Tensor) -> Row:
    """PSNR (dB, pooled) of the best context picture for each target, as it is, and of the context's mean colour."""
    errors = (seen[:, None] - truth[None]).square().mean(dim=(-3, -2, -1))
    mean = seen.mean(dim=(0, 2, 3))[:, None, None].expand_as(truth[0])
    nearest = -10 * errors.amin(dim=0).mean().log10()
    pooled = -10 * (mean - truth).square().mean().log10()
    return {"psnr_nearest": float(nearest), "psnr_mean_colour": float(pooled)}


def _depth_columns(rendering: Rendering, truth: Tensor) -> Row:
    """Errors of accumulated depth after least squares with trimming, as published, and with the median scale."""
    depth = rendering.depth[0]
    fitted, median = score_aligned_depth(depth, truth), score_aligned_depth(depth, truth, "median")
    return {
        "depth_abs_rel_ls": fitted.abs_rel,
        "depth_tau_1_ls": fitted.tau_1,
        "depth_tau_2_ls": fitted.tau_2,
        "depth_tau_3_ls": fitted.tau_3,
        "depth_rmse_ls": fitted.rmse,
        "depth_abs_rel": median.abs_rel,
    }
