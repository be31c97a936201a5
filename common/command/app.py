"""The web application for any systems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate

from common.app.server import make_server, serve
from common.command.settings import AppCommand
from common.errors import ConfigurationError


def app(chosen: AppCommand) -> None:
    """Make the systems, serve the page."""
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    if not chosen.systems:
        raise ConfigurationError("systems: give at least one")
    systems = [instantiate(system, _convert_="all") for system in chosen.systems]

    def page(folder: Path) -> Any:
        return make_server(systems, folder, chosen.limits, chosen.server.root_path)

    try:
        serve(page, chosen.server, lambda address: print(f"open {address} (Ctrl-C ends it)", flush=True))
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
