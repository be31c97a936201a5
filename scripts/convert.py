"""Published weights to our format: ``python scripts/convert.py weights=DIR/2views.pth output=checkpoints/uni3r_large``.

Reads split files, reads pickles without running anything in them, and drops what the network never uses (teacher,
tracking head, optimizer, ..). Options are in ``configs/convert.yaml``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import hydra
import torch
from hydra.utils import get_class
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress

from common.checkpoints.conversion import convert_checkpoint, read_family
from common.checkpoints.parts import whole_file
from common.command.launch import clear_errors, launch
from common.configuration import UserPath, to_dataclass
from common.errors import ConfigurationError


@dataclass(frozen=True)
class ConvertConfig:
    """``configs/convert.yaml``, which explains each."""

    weights: UserPath
    output: UserPath
    networks: dict[str, str]
    scratch: UserPath
    teacher: bool = False
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    keep: list[Literal["camera_head", "depth_head"]] = field(default_factory=list)
    license: str | None = None


@hydra.main(version_base="1.3", config_path="../configs", config_name="convert")
@clear_errors
def main(config: DictConfig) -> None:
    """Join the parts if there are any, convert, and say what was kept and what was not."""
    settings = to_dataclass(config, ConvertConfig)
    console = Console()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        joining = bar.add_task("joining parts", total=None, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(joining, completed=done, total=total, visible=True)

        with whole_file(settings.weights, settings.scratch, show) as path:
            bar.update(joining, visible=False)
            state, key_map = read_family(path, settings.teacher)
            if key_map.name not in settings.networks:
                known = ", ".join(settings.networks)
                raise ConfigurationError(f"networks: no class for {key_map.name} checkpoints; there are: {known}")
            dtype = None if settings.dtype is None else getattr(torch, settings.dtype)
            network = get_class(settings.networks[key_map.name])
            sizes = dict.fromkeys(settings.keep, True)
            notes = {"license": settings.license} if settings.license else {}
            done = convert_checkpoint(state, key_map, network, settings.output, sizes, dtype, notes)
    dropped = ", ".join(f"{count} of {name}" for name, count in sorted(done.dropped.items())) or "nothing"
    console.print(f"{done.folder}: {done.tensors} tensors, {done.parameters / 1e6:.1f} M numbers ({done.family})")
    console.print(f"left out: {dropped}", highlight=False)


if __name__ == "__main__":
    launch(main)
