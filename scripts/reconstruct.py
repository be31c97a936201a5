"""Images or a video to a coloured point cloud with camera poses.

    python scripts/reconstruct.py source=folder source.path=DIR output=OUT [model=slam3r_large] [key=value ...]

    python scripts/reconstruct.py source=camera live=true output=OUT

Every knob is in ``configs/reconstruct.yaml``; what is written, in ``slam3r/scene/outputs.py``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig

import slam3r
from common.command.launch import EXIT_INTERRUPTED, clear_errors, launch
from common.configuration import to_dataclass
from common.data.sources.image_files import FrameSource
from common.data.sources.open import source_from_config
from common.errors import ConfigurationError
from common.geometry.calibration import Calibration
from common.refinement.refine import RefinementSettings
from slam3r.live.run import reconstruct_live
from slam3r.live.settings import StreamingSettings, ViewSettings
from slam3r.models.description import ModelConfig
from slam3r.scene.settings import ExportSettings, RunSettings


@dataclass(frozen=True)
class Configuration:
    """``configs/reconstruct.yaml``."""

    source: dict[str, Any]
    model: ModelConfig
    reconstruction: slam3r.ReconstructionSettings
    export: ExportSettings
    refinement: RefinementSettings
    output: str
    overwrite: bool
    save_predictions: bool
    threads: int | None
    run: RunSettings
    live: bool
    streaming: StreamingSettings
    view: ViewSettings
    camera: Calibration | None = None


@hydra.main(version_base="1.3", config_path="../configs", config_name="reconstruct")
@clear_errors
def main(config: DictConfig) -> None:
    """Build the source, reconstruct, write."""
    chosen = to_dataclass(config, Configuration)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    with source_from_config(chosen.source) as source:
        if chosen.live:
            return _run_live(source, chosen)
        if chosen.camera is not None:
            raise ConfigurationError("camera: a calibration is used by live sessions only; add live=true")
        scene = slam3r.reconstruct(
            source,
            chosen.model,
            chosen.output,
            settings=chosen.reconstruction,
            export=chosen.export,
            refinement=chosen.refinement,
            save_predictions=chosen.save_predictions,
            overwrite=chosen.overwrite,
            **vars(chosen.run),
        )
    print(
        f"{len(scene.frames)} frames at stride {scene.stride}, {len(scene.points)} points, "
        f"{scene.frames_per_second:.2f} frames per second, peak {scene.peak_memory}: {chosen.output}"
    )
    print(scene.verdict.sentence())
    if scene.interrupted:
        sys.exit(EXIT_INTERRUPTED)


def _run_live(source: FrameSource, chosen: Configuration) -> None:
    statistics, written = reconstruct_live(
        source,
        chosen.model,
        Path(chosen.output),
        chosen.reconstruction,
        chosen.streaming,
        chosen.run,
        chosen.camera,
        chosen.view,
        chosen.overwrite,
    )
    print(
        f"{statistics.frames_registered} of {statistics.frames_pushed} frames registered in "
        f"{statistics.segments_closed} segments, lost {statistics.losses} times, "
        f"{statistics.capacity:.2f} frames per second: {', '.join(map(str, written))}"
    )


if __name__ == "__main__":
    launch(main)
