"""Pictures to semantic Gaussians, and to films and pictures of them.

    python scripts/render.py source=folder source.path=DIR output=OUT [model=uni3r_tiny] [queries='[chair,floor]']

Every knob is in ``configs/render.yaml``; what is written, in ``uni3r/scene/outputs.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hydra
import torch
from omegaconf import DictConfig

import uni3r
from common.command.launch import clear_errors, launch
from common.configuration import to_dataclass
from common.data.sources.open import source_from_config
from uni3r.models.description import ModelConfig
from uni3r.scene.settings import ExportSettings, RunSettings


@dataclass(frozen=True)
class Configuration:
    """``configs/render.yaml``."""

    source: dict[str, Any]
    model: ModelConfig
    queries: tuple[str, ...]
    cameras: str | None
    teacher_source: str | None
    output: str
    overwrite: bool
    export: ExportSettings
    run: RunSettings
    threads: int | None


@hydra.main(version_base="1.3", config_path="../configs", config_name="render")
@clear_errors
def main(config: DictConfig) -> None:
    """Build the source, the scene, and write."""
    chosen = to_dataclass(config, Configuration)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    with source_from_config(chosen.source) as source:
        scene = uni3r.reconstruct(
            source,
            chosen.model,
            chosen.output,
            cameras=chosen.cameras,
            export={**vars(chosen.export), "queries": chosen.queries, "progress": chosen.run.progress},
            teacher_source=chosen.teacher_source,
            overwrite=chosen.overwrite,
            **vars(chosen.run),
        )
    seconds = sum(scene.seconds.values())
    print(f"{scene.gaussians.count} Gaussians from {len(scene.views)} views in {seconds:.1f} s: {chosen.output}")
    for warning in scene.warnings:
        print(f"warning: {warning}")


if __name__ == "__main__":
    launch(main)
