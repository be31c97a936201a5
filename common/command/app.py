"""The web application for any systems."""

from __future__ import annotations

import torch
from hydra.utils import instantiate

from common.app.server import serve
from common.command.settings import AppCommand
from common.errors import ConfigurationError


def app(chosen: AppCommand) -> None:
    """Make the systems, serve the page."""
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    if not chosen.systems:
        raise ConfigurationError("systems: give at least one")
    systems = [instantiate(system, _convert_="all") for system in chosen.systems]
    print(f"open http://{chosen.server.host}:{chosen.server.port}{chosen.server.root_path} (Ctrl-C ends it)")
    try:
        serve(systems, chosen.server, chosen.limits)
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
