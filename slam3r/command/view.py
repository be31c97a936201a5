"""Command ``view``: a finished result in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.app.finished import read_finished
from common.app.server import make_viewer, serve
from common.errors import ConfigurationError
from common.paths import user_path
from slam3r.command.settings import ViewCommand


def view(chosen: ViewCommand) -> None:
    """Read the folder, serve its page."""
    outcome = read_finished(chosen.run)
    title = user_path(chosen.run).resolve().name

    def page(folder: Path) -> Any:
        return make_viewer(title, outcome, folder, chosen.server.root_path)

    try:
        serve(page, chosen.server, lambda address: print(f"open {address} (Ctrl-C ends it)", flush=True))
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
