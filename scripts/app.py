"""The web application: pictures or a video to a scene to look at and to download.

    python scripts/app.py [server.port=7860] [key=value ...]

Every knob is in ``configs/app.yaml``; the page is ``common/app/page.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from common.app.server import serve
from common.app.settings import Limits, ServerSettings
from common.command.launch import clear_errors, launch
from common.configuration import to_dataclass
from common.errors import ConfigurationError


@dataclass(frozen=True)
class Configuration:
    """``configs/app.yaml``."""

    systems: tuple[dict[str, Any], ...]
    server: ServerSettings
    limits: Limits
    threads: int | None


@hydra.main(version_base="1.3", config_path="../configs", config_name="app")
@clear_errors
def main(config: DictConfig) -> None:
    """Make the systems, serve the page."""
    chosen = to_dataclass(config, Configuration)
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


if __name__ == "__main__":
    launch(main)
