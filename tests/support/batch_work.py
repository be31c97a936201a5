"""A command for several inputs that needs no model: it writes a summary, and does to its worker what the input asks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from common.command.many.board import Figures
from common.command.verb import Verb
from common.errors import CheckpointError, InputError
from common.export.result_folder import SUMMARY
from common.files import write_json
from slam3r.command.settings import ReconstructCommand
from slam3r.command.verbs import RECONSTRUCT


def prepare(chosen: ReconstructCommand) -> Callable[[ReconstructCommand], Figures]:
    """Loads the model, which leaves a trace; the model may be missing."""
    if chosen.model.weights.image_to_points == "missing":
        raise CheckpointError("missing: no such weights")
    assert chosen.output is not None
    trace = Path(chosen.output).parent / f"loaded_{os.getpid()}"
    trace.touch()
    return work


def work(chosen: ReconstructCommand) -> Figures:
    """Files in the input's folder say what happens: ``fails`` (until it is removed), ``kills``, ``waits``."""
    folder, output = Path(chosen.source["path"]), Path(str(chosen.output))
    if (folder / "fails").exists():
        raise InputError(f"{folder}: nothing\nusable")
    output.mkdir(exist_ok=chosen.overwrite)
    if (folder / "waits").exists():  # until the other worker is dead
        time.sleep(3)
    if (folder / "kills").exists():
        (output / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    write_json(output / SUMMARY, {})
    return Figures(len(list(folder.iterdir())), "well")


COMMAND = Verb(
    name="test",
    config=RECONSTRUCT.config,
    settings=RECONSTRUCT.settings,
    run=RECONSTRUCT.run,
    register=RECONSTRUCT.register,
    summary="",
    examples=("test photos",),
    input="source",
    many="tests.support.batch_work.prepare",
)
