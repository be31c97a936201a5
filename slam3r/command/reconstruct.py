"""Command ``reconstruct``: a point cloud with camera poses from images or a video, or live maps from a camera."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import slam3r
from common.command.line.outcome import EXIT_INTERRUPTED
from common.command.line.output_folder import chosen_output
from common.data.sources.image_files import FrameSource
from common.data.sources.open import source_from_config
from common.errors import ConfigurationError
from slam3r.command.settings import ReconstructCommand
from slam3r.live.run import reconstruct_live


def reconstruct(chosen: ReconstructCommand) -> None:
    """Build the source, reconstruct, write, and print a summary."""
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    with source_from_config(chosen.source) as source:
        output = chosen_output(chosen.output, chosen.source, "live" if chosen.live else "reconstruction")
        if chosen.live:
            return _run_live(source, chosen, output)
        if chosen.camera is not None:
            raise ConfigurationError("camera: a calibration is used by live sessions only; add live=true")
        scene = slam3r.reconstruct(
            source,
            chosen.model,
            output,
            settings=chosen.reconstruction,
            export=chosen.export,
            refinement=chosen.refinement,
            save_predictions=chosen.save_predictions,
            overwrite=chosen.overwrite,
            **vars(chosen.run),
        )
    print(
        f"{len(scene.frames)} frames at stride {scene.stride}, {len(scene.points)} points, "
        f"{scene.frames_per_second:.2f} frames per second, peak {scene.peak_memory}: {output}"
    )
    print(scene.verdict.sentence())
    if scene.interrupted:
        sys.exit(EXIT_INTERRUPTED)


def _run_live(source: FrameSource, chosen: ReconstructCommand, output: Path) -> None:
    statistics, written = reconstruct_live(
        source,
        chosen.model,
        output,
        chosen.reconstruction,
        chosen.streaming,
        chosen.run,
        chosen.camera,
        chosen.view,
        chosen.overwrite,
        chosen.refinement,
    )
    print(
        f"{statistics.frames_registered} of {statistics.frames_pushed} frames registered in "
        f"{statistics.segments_closed} segments, lost {statistics.losses} times, "
        f"{statistics.capacity:.2f} frames per second: {', '.join(map(str, written))}"
    )
