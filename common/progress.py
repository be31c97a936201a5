"""Progress of long work: a bar on a terminal, a line every half minute where the output goes elsewhere, and listeners.

A program that shows progress itself, such as the web application, listens:

    with listening(page.report):
        scene = slam3r.reconstruct("my_photos/")
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

INTERVAL = 30.0
"""Seconds between two lines."""
_SHARE_BAR, _CLOCK = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}", "{desc}: {elapsed}"
_innermost: ContextVar[ProgressReporter | None] = ContextVar("innermost progress", default=None)
_listener: ContextVar[ProgressListener | None] = ContextVar("progress listener", default=None)


class ProgressListener(Protocol):
    """Is told about progress. An exception that it raises ends the work, at the next step."""

    def __call__(self, stage: str, done: float, total: float | None) -> None:
        """Take the stage, the steps of it that are done, and its number of steps: None where nobody knows, 1 where
        steps are shares."""


@contextmanager
def listening(listener: ProgressListener) -> Iterator[None]:
    """Context in which work of this thread tells a listener how far it is, also where it shows nothing."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class ProgressReporter:
    """Reports the stage of the work and the share that is done; a context manager.

        with ProgressReporter("read", total=400, unit="frame") as progress:
            for frame in frames:
                progress.update()

    A terminal shows a bar. Elsewhere (a log file, a pipe, a notebook) nothing appears for the first `INTERVAL`, then a
    line after each, also while the work makes no step, such as ``evaluate: 0 of 8 scenes (0 %), register: 12 of 40
    frames (30 %), 1 min 30 s``. Work inside other work is part of the same line.

    Args:
        stage: what is being done.
        total: steps until the end; None where nobody knows.
        unit: name of a step, in the singular; empty where `total` is 1 and steps are shares of it, or where there are
            no steps to count, only time.
        initial: steps that are done already.
        show: False reports to listeners alone.
        file: a stream in place of standard error.
        interval: seconds between lines.
    """

    def __init__(
        self,
        stage: str,
        total: float | None = None,
        unit: str = "",
        *,
        initial: float = 0,
        show: bool = True,
        file: TextIO | None = None,
        interval: float = INTERVAL,
    ) -> None:
        self._stage, self._total, self._unit, self._done = stage, total, unit, initial
        self._show, self._file, self._interval = show, file or sys.stderr, interval
        self._bar: tqdm | None = None
        self._outer: ProgressReporter | None = None
        self._has_inner = False
        self._listener: ProgressListener | None = None
        self._ended = threading.Event()
        self._start = 0.0

    def __enter__(self) -> ProgressReporter:
        self._start, self._listener = time.monotonic(), _listener.get()
        self._tell()
        if not self._show:
            return self
        self._outer = _innermost.get()
        if self._outer is not None:
            self._outer._has_inner = True
        _innermost.set(self)
        if self._file.isatty():
            form = {} if self._unit else {"bar_format": _SHARE_BAR if self._total else _CLOCK}
            self._bar = tqdm(
                desc=self._stage,
                total=self._total,
                initial=self._done,
                unit=self._unit or "it",
                file=self._file,
                leave=self._outer is None,
                **form,
            )
        else:
            threading.Thread(target=self._write_lines, name="progress", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        if not self._show:
            return
        if self._bar is not None:
            self._bar.close()
        _innermost.set(self._outer)
        if self._outer is not None:
            self._outer._has_inner = False

    def update(self, steps: float = 1) -> None:
        """Count steps that are done."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
        self._tell()

    def describe(self, stage: str) -> None:
        """Change the name of the stage."""
        self._stage = stage
        if self._bar is not None:
            self._bar.set_description(stage)
        self._tell()

    def at(self, stage: str, share: float) -> None:
        """Set the stage and the share of it that is done, for a `total` of 1."""
        self._done = share
        if self._bar is not None:
            self._bar.n = share
        self.describe(stage)

    def restart(self, stage: str) -> None:
        """Count from zero to the same total again, for the next stage."""
        self._done = 0
        if self._bar is not None:
            self._bar.reset(self._total)
        self.describe(stage)

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items and count each one when its successor is asked for."""
        for item in items:
            yield item
            self.update()

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(self._stage, self._done, self._total)

    @property
    def sentence(self) -> str:
        """Stage and share of this work, and before it of the work that it is part of."""
        before = f"{self._outer.sentence}, " if self._outer is not None else ""
        if not self._unit:
            return f"{before}{self._stage}" + (f": {100 * self._done:.0f} %" if self._total else "")
        count = f"{self._done:g}" if self._total is None else f"{self._done:g} of {self._total:g}"
        share = f" ({100 * self._done / self._total:.0f} %)" if self._total else ""
        return f"{before}{self._stage}: {count} {self._unit}s{share}"

    def _write_lines(self) -> None:
        while not self._ended.wait(self._interval):
            if self._has_inner:  # whose line says both
                continue
            outermost: ProgressReporter = self
            while outermost._outer is not None:
                outermost = outermost._outer
            try:
                self._file.write(f"{self.sentence}, {_duration(time.monotonic() - outermost._start)}\n")
                self._file.flush()
            except (OSError, ValueError):  # nobody reads any more
                return


def between_bars() -> AbstractContextManager[None]:
    """Context in which a program prints a line of its own: bars step aside."""
    return tqdm.external_write_mode(file=sys.stdout)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
