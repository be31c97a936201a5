"""Command ``convert``: published weights to our format. Split files are joined, and no pickled code is run."""

from __future__ import annotations

import torch
from hydra.utils import get_class
from rich.console import Console

from common.checkpoints.conversion import convert_checkpoint, read_family
from common.checkpoints.location import CONFIG_NAME, WEIGHTS_NAME
from common.checkpoints.parts import whole_file
from common.errors import ConfigurationError, InputError
from common.files import check_writable
from common.progress import ProgressReporter
from uni3r.command.settings import ConvertCommand


def convert(settings: ConvertCommand) -> None:
    """Join the parts if there are any, convert, and report kept and dropped tensors."""
    check_writable(settings.output, (CONFIG_NAME, WEIGHTS_NAME))
    if settings.weights.resolve() == (settings.output / WEIGHTS_NAME).resolve():
        raise InputError(f"output {settings.output}: {WEIGHTS_NAME} there is what is read; choose another folder")
    console = Console()
    with ProgressReporter("convert", 1.0) as progress:

        def show(done: int, total: int) -> None:
            progress.at("join parts", done / max(1, total))

        with whole_file(settings.weights, settings.scratch, show) as path:
            progress.at("convert", 0.0)
            state, key_map = read_family(path, settings.teacher)
            if key_map.name not in settings.networks:
                known = ", ".join(settings.networks)
                raise ConfigurationError(f"networks: no class for {key_map.name} checkpoints; there are: {known}")
            dtype = None if settings.dtype is None else getattr(torch, settings.dtype)
            network = get_class(settings.networks[key_map.name])
            sizes = {**settings.sizes, **{str(part): True for part in settings.keep}}
            notes = {"license": settings.license} if settings.license else {}
            done = convert_checkpoint(state, key_map, network, settings.output, sizes, dtype, notes)
    dropped = ", ".join(f"{count} of {name}" for name, count in sorted(done.dropped.items())) or "nothing"
    console.print(f"{done.folder}: {done.tensors} tensors, {done.parameters / 1e6:.1f} M numbers ({done.family})")
    takes = {"none": "no, the file has no embedding of them", "token": "yes"}.get(str(done.config.get("intrinsics")))
    if takes is not None:
        console.print(f"takes intrinsics: {takes}", highlight=False)
    console.print(f"left out: {dropped}", highlight=False)
