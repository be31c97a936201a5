"""Settings of the web application."""

from __future__ import annotations

from dataclasses import dataclass

from common.ranges import Count, Port, Positive


@dataclass(frozen=True)
class ServerSettings:
    """Address and port to listen on."""

    host: str = "127.0.0.1"
    """Address to listen on: loopback admits only this machine, ``0.0.0.0`` everybody who can reach it."""
    port: Port = 7860
    """Port to listen on."""
    root_path: str = ""
    """Path under which a proxy shows the application."""


@dataclass(frozen=True)
class Limits:
    """Limits of one visitor's uploads."""

    files: Count = 500
    """Files uploaded at once."""
    megabytes: Count = 500
    """Total size of all files, megabytes."""
    waiting: Count = 20
    """Visitors in the queue; one works at a time."""
    hours: Positive = 2.0
    """Hours until the files of a visitor who was not seen any more are removed."""

    def __post_init__(self) -> None:
        if min(self.files, self.megabytes, self.waiting) < 1 or self.hours <= 0:
            raise ValueError("limits must be positive")
