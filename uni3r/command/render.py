"""Command ``render``: semantic Gaussians from images, with films and pictures of them."""

from __future__ import annotations

import torch

import uni3r
from common.command.line.output_folder import chosen_output
from common.data.sources.open import source_from_config
from uni3r.command.settings import RenderCommand


def render(chosen: RenderCommand) -> None:
    """Build the source and the scene, and write the results."""
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    with source_from_config(chosen.source) as source:
        output = chosen_output(chosen.output, chosen.source, "gaussians")
        scene = uni3r.reconstruct(
            source,
            chosen.model,
            output,
            cameras=chosen.cameras,
            export={**vars(chosen.export), "queries": chosen.queries, "progress": chosen.run.progress},
            teacher_source=chosen.teacher_source,
            overwrite=chosen.overwrite,
            **vars(chosen.run),
        )
    seconds = sum(scene.seconds.values())
    print(f"{scene.gaussians.count} Gaussians from {len(scene.views)} views in {seconds:.1f} s: {output}")
    print(scene.verdict.sentence())
    for warning in scene.warnings:
        print(f"warning: {warning}")
