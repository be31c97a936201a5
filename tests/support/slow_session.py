"""A session whose every push takes a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slam3r.service.streams.sessions import SessionFactory
from tests.support.service_worker import random_sessions


class SlowSession:
    """Waits in front of another session."""

    def __init__(self, inside: Any, before_push: Callable[[list[str]], None]) -> None:
        self._inside, self._before_push = inside, before_push

    def feed(self, images: Any, timestamps: Any, names: Any) -> Any:
        self._before_push(list(names))
        return self._inside.feed(images, timestamps, names)

    def drain(self) -> Any:
        return self._inside.drain()

    def checkpoint(self, path: Path) -> None:
        self._inside.checkpoint(path)

    @property
    def map(self) -> Any:
        return self._inside.map


def sessions_that(before_push: Callable[[list[str]], None]) -> SessionFactory:
    """Random sessions that call something with the names of the frames (their timestamps) before every push."""
    make = random_sessions()
    return lambda checkpoint, on_end: SlowSession(make(checkpoint, on_end), before_push)


def slow_sessions(seconds: float) -> SessionFactory:
    """Random sessions whose pushes take so many seconds a frame."""
    return sessions_that(lambda names: time.sleep(seconds * len(names)))
