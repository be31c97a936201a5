"""Shared parts of Uni3R's benchmarks: the model under test, definitions, and mIoU over a whole data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.configuration import to_dataclass
from common.errors import CheckpointError, ConfigurationError
from common.evaluation.benchmark import VARIANT
from common.files import read_json, write_json
from common.metrics.lpips import Lpips
from common.metrics.segmentation import score_confusion
from uni3r.evaluation.window_scorer import ProtocolSettings, WindowScore, WindowScorer
from uni3r.models.description import Uni3rDescription
from uni3r.pretrained import load_teacher, ready_model
from uni3r.semantics.labels import LabelSet, load_label_set
from uni3r.semantics.query import Query

NOTES: Sequence[str] = (
    "PSNR: from the pooled squared error of a window's targets, renderings not clamped; SSIM: 11 x 11 Gaussian window; "
    "LPIPS: VGG on [0, 1] images, as published",
    "psnr, ssim, lpips, labels and depth are taken after the pose of every target was aligned to the very picture that "
    "is scored (100 steps, as published); the columns _unaligned are without",
    "what no Gaussian covers is black as published, or the mean colour of the context, as the model's configuration "
    "says",
    "psnr_nearest: the best context picture as it is; psnr_mean_colour: their mean colour; psnr_gain: above the better",
    "mIoU of a row: mean over the classes that the scene's labels or predictions have",
    "depth: accumulated along z; least squares with trimming (80 %, twice, capped at 10) or median scale, per image; "
    "tau: share within 3 % (1.03, 1.03^2, 1.03^3)",
    "seconds: Gaussians from pictures, refinement of the context's poses included",
)
_CONFUSION = "confusion.json"
LpipsChoice = bool | str
"""Whether to score LPIPS with VGG-16 from torch's cache, or the file of VGG-16."""


@dataclass
class ModelUnderTest:
    """A model under test."""

    scorer: WindowScorer
    query: Query | None
    labels: LabelSet
    size: tuple[int, int]
    facts: dict[str, Any]
    remarks: tuple[str, ...] = ()
    """Scores that could not be measured, and why."""

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], teacher_source: str | None, lpips: LpipsChoice, protocol: ProtocolSettings
    ) -> ModelUnderTest:
        """Load the ``model`` of the configuration of an evaluation.

        Raises:
            ConfigurationError: the model is not a Uni3R, or a value is invalid.
            CheckpointError: its weights are missing or damaged, or those of LPIPS where a file is named.
        """
        model = ready_model(to_dataclass(config["model"], Uni3rDescription), device=config.get("device", "auto"))
        inference = model.settings
        try:
            teacher = load_teacher(inference.teacher, teacher_source)
        except ImportError as error:
            raise ConfigurationError(str(error)) from error
        labels = load_label_set(inference.labels)
        query = None if teacher is None else Query.of(teacher, labels)
        network, remarks = _perceptual(lpips)
        scorer = WindowScorer(model, protocol, teacher, network)
        facts = {"model": model.provenance, "lpips": network is not None}
        return cls(scorer, query, labels, inference.size, facts, remarks)

    def describe(self) -> dict[str, Any]:
        """Everything that figures depend on, as JSON values."""
        return self.facts


def _perceptual(choice: LpipsChoice) -> tuple[Lpips | None, tuple[str, ...]]:
    """LPIPS on [0, 1] images as published; if it is unavailable, a remark instead."""
    if choice is False:
        return None, ()
    if isinstance(choice, str):
        return Lpips("zero_to_one", choice), ()
    try:
        return Lpips("zero_to_one"), ()
    except (CheckpointError, ImportError) as error:
        return None, (f"LPIPS: not measured ({error})",)


def write_confusion(folder: Path, score: WindowScore | Sequence[WindowScore]) -> None:
    """Store the confusion matrix of a scene, for the mIoU of the data set."""
    scores = [score] if isinstance(score, WindowScore) else score
    counts = [one.confusion for one in scores if one.confusion is not None]
    if counts:
        write_json(folder / _CONFUSION, torch.cat(counts).sum(dim=0).tolist())


def pooled_miou(scenes: Path | None, labels: LabelSet) -> list[str]:
    """A sentence with the mIoU of one confusion matrix over all scenes in a folder, for each variant of the method;
    none where there is no matrix."""
    variants: dict[str, list[Path]] = {}
    for file in [] if scenes is None else sorted(scenes.glob(f"*/{_CONFUSION}")):
        variants.setdefault(file.parent.name.partition(VARIANT)[2], []).append(file)
    return [_pooled(variant, files, labels) for variant, files in variants.items()]


def _pooled(variant: str, files: Sequence[Path], labels: LabelSet) -> str:
    pooled = torch.tensor([read_json(file) for file in files]).sum(dim=0)
    score = score_confusion(pooled[None])
    classes = ", ".join(
        f"{name} {value:.3f}" for name, value in zip(labels.names, score.iou, strict=True) if np.isfinite(value)
    )
    return (
        f"all {len(files)} scenes{variant and ' with '}{variant} as one confusion matrix: mIoU {score.mean_iou:.3f}, "
        f"pixel accuracy {score.pixel_accuracy:.3f} ({classes})"
    )
