"""Command ``render``: semantic Gaussians from images, with films and pictures of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

import uni3r
from common.command.line.output_folder import chosen_output
from common.command.many.board import Figures
from common.data.sources.frame_source import FrameSource
from common.data.sources.open import source_from_config
from uni3r.command.settings import RenderCommand
from uni3r.pretrained import ModelChoice, ready_model


def render(chosen: RenderCommand) -> None:
    """Build the source and the scene, and write the results."""
    with source_from_config(chosen.source) as source:
        output = chosen_output(chosen.output, chosen.source, "gaussians")
        scene = _run(source, chosen, chosen.model, output)
    seconds = sum(scene.seconds.values())
    print(f"{scene.gaussians.count} Gaussians from {len(scene.views)} views in {seconds:.1f} s: {output}")
    print(scene.verdict.sentence())
    for warning in scene.warnings:
        print(f"warning: {warning}")


def prepare_many(chosen: RenderCommand) -> Callable[[RenderCommand], Figures]:
    """Load the model once; returns the rendering of one of several inputs (`common.command.verb.Verb.many`)."""
    ready = ready_model(chosen.model, chosen.run.size, chosen.run.device)

    def one(chosen: RenderCommand) -> Figures:
        assert chosen.output is not None, "a batch gives each input its folder"
        with source_from_config(chosen.source) as source:
            scene = _run(source, chosen, ready, Path(chosen.output))
        return Figures(len(scene.views), scene.verdict.sentence())

    return one


def _run(source: FrameSource, chosen: RenderCommand, model: ModelChoice, output: Path) -> uni3r.Scene:
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    return uni3r.reconstruct(
        source,
        model,
        output,
        cameras=chosen.cameras,
        export={**vars(chosen.export), "queries": chosen.queries, "progress": chosen.run.progress},
        teacher_source=chosen.teacher_source,
        overwrite=chosen.overwrite,
        **vars(chosen.run),
    )
