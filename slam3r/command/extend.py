"""Command ``extend``: more pictures into the world of a finished run."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from common.command.line.outcome import EXIT_INTERRUPTED
from slam3r.command.settings import ExtendCommand
from slam3r.continuation.extend import extend


def extend_run(chosen: ExtendCommand) -> None:
    """Reconstruct both together, write, and print a summary."""
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    scene = extend(
        chosen.run,
        [Path(word) for word in chosen.pictures],
        chosen.output,
        every=chosen.every,
        model=chosen.model,
        refinement=chosen.mode,
        poses=chosen.poses,
        sigma=chosen.sigma,
        export=chosen.export,
        settings=chosen.placing,
        overwrite=chosen.overwrite,
        **vars(chosen.options),
    )
    told = scene.made_from["extend"]
    lost = len(told["new_frames_without_pose"]) + len(told["new_frames_not_connected"])
    print(
        f"{told['frames'][1]} frames beside the {told['frames'][0]} of the run"
        f"{f', {lost} of them without a pose or without matches' if lost else ''}, {len(scene.points)} points: "
        f"{chosen.output}"
    )
    print(scene.verdict.sentence())
    print(scene.unit.sentence())
    if scene.interrupted:
        sys.exit(EXIT_INTERRUPTED)
