"""Where the pages are served: a port that is taken is one line, and nothing is made for it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="comes with the extra app")

from common.app.server import serve
from common.app.settings import ServerSettings
from common.errors import ConfigurationError


def never(folder: Path) -> Any:
    raise AssertionError("the application is made before its address is known to be free")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_that_is_taken_is_said_before_long_work(host: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"server.port={port} .*in use"):
            serve(never, ServerSettings(host, port), print)


@pytest.mark.parametrize("settings", [ServerSettings(port=70000), ServerSettings(host="203.0.113.1")])
def test_an_address_that_does_not_exist_is_said(settings: ServerSettings) -> None:
    with pytest.raises(ConfigurationError, match="choose another server"):
        serve(never, settings, print)
