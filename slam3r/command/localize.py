"""Command ``localize``: poses of new pictures in a finished run."""

from __future__ import annotations

from pathlib import Path

import torch

from common.command.line.output_folder import free_path
from common.errors import InputError
from common.files import check_writable
from common.paths import user_path
from slam3r.command.settings import LocalizeCommand
from slam3r.continuation.finished_run import read_finished_run
from slam3r.continuation.localize import LOCALIZED, localize, write_localized


def localize_pictures(chosen: LocalizeCommand) -> None:
    """Place the pictures, print a line for each, write poses and refusals."""
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    run = read_finished_run(chosen.run)
    output = free_path(run.folder / "localized") if chosen.output is None else user_path(chosen.output)
    check_writable(output, (LOCALIZED,))
    if (output / LOCALIZED).exists() and not chosen.overwrite:
        raise InputError(f"output {output} already holds {LOCALIZED}; choose another folder, or give overwrite=true")
    if not run.is_refined:
        print("the run is not refined: poses are no better than its own cameras", flush=True)
    placed = localize(
        run,
        [Path(word) for word in chosen.pictures],
        cameras=chosen.cameras,
        focal=chosen.focal,
        settings=chosen.placing,
    )
    for one in placed:
        print(one.sentence())
    found = sum(one.camera_to_world is not None for one in placed)
    write_localized(output, run, placed)
    print(f"{found} of {len(placed)} pictures placed: {output / LOCALIZED}")
