"""The systems whose commands, models and recipes are configured together."""

from __future__ import annotations

from hydra.utils import get_method

from common.command.settings import register_settings

SYSTEMS = ("slam3r", "uni3r")  # by name: this package stands below both


def register_systems() -> None:
    """Make the defaults of every command of every system known to Hydra (`common.command.registry`).

    A command that serves one system may be given a file that belongs to the other, and then has to say so.
    """
    register_settings()
    for system in SYSTEMS:
        get_method(f"{system}.command.settings.register_settings")()
