"""Command ``merge``: two finished runs into one."""

from __future__ import annotations

import torch

from common.errors import ConfigurationError
from slam3r.command.settings import MergeCommand
from slam3r.continuation.merge import merge


def merge_runs(chosen: MergeCommand) -> None:
    """Find the similarity, write both in one, and print a summary."""
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    if len(chosen.others) != 1:
        raise ConfigurationError(f"others: expected one run beside {chosen.run}, got {len(chosen.others)}")
    scene = merge(
        chosen.run,
        chosen.others[0],
        chosen.output,
        export=chosen.export,
        settings=chosen.merging,
        overwrite=chosen.overwrite,
    )
    told = scene.made_from["merge"]
    print(f"{told['frames'][0]} and {told['frames'][1]} frames, {len(scene.points)} points: {chosen.output}")
    print(scene.verdict.sentence())
    print(scene.unit.sentence())
