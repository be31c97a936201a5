"""The sources of frames as options of the configuration group ``source``."""

from __future__ import annotations

from common.command.registry import register_target
from common.data.sources.recognition import SOURCES


def register_sources() -> None:
    """Make the sources known to Hydra."""
    for name, source in SOURCES.items():
        register_target("source", name, source)
