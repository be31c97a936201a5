"""A worker of a batch: takes inputs that no other worker has, until none are left."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.utils import get_method

from common.command.line.checking import USER_ERRORS, composed_settings
from common.command.many.board import Board, Figures, Record
from common.command.verb import Verb


@dataclass
class Worker:
    """The work of a batch, the same for all workers. Each calls it in its own process, with its number."""

    verb: Verb
    """The command; `Verb.many` names its function."""
    board: Board
    sources: Mapping[str, str]
    """Name of an input -> the input as the user gave it."""
    overrides: Mapping[str, list[str]]
    """Name of an input -> its overrides."""
    threads: int | None = None
    """Processor threads, where the user says nothing else."""
    current: str | None = None
    """Name of the input that this worker is busy with."""

    def __call__(self, number: int) -> None:
        """Work until no input is left; failures become records, not exceptions."""
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stdout)
        self.verb.register()
        function: Callable[[Any], Figures] | None = None
        for name, source in self.sources.items():
            if self.board.refusal is not None:
                return
            if self.board.settled(name) is not None:
                continue
            with self.board.claim(name) as is_mine:
                if not is_mine or self.board.settled(name) is not None:
                    continue
                before = self.board.begin(name)
                if before == self.board.call:
                    self.board.killed(name, source)
                    continue
                self.current = name
                settings = self._settings(name, again=before is not None)
                try:
                    function = function or get_method(self.verb.many)(settings)
                except USER_ERRORS as error:  # the model is missing, or the device
                    self.board.put_back(name)
                    return self.board.refuse(_line(error))
                print(f"== {source}", flush=True)
                self.board.write(name, self._done(function, settings, source))
                self.current = None

    def checkpoint(self, number: int) -> Any:
        """Put the input back and be queued again: submitit calls this when the time limit or a preemption is near."""
        from submitit.helpers import DelayedSubmission

        if self.current is not None:
            self.board.put_back(self.current)
        return DelayedSubmission(replace(self, current=None), number)

    def _settings(self, name: str, again: bool) -> Any:
        """Settings of an input; results that a worker may have left when it died are replaced."""
        settings = composed_settings(self.verb, self.overrides[name])
        output = str(self.board.output / name)
        return replace(
            settings,
            output=output,
            overwrite=settings.overwrite or again,
            threads=settings.threads or self.threads,
        )

    def _done(self, function: Callable[[Any], Figures], settings: Any, source: str) -> Record:
        start, call = time.perf_counter(), self.board.call
        try:
            figures = function(settings)
        except USER_ERRORS as error:
            reason = _line(error)
        except Exception as error:  # a fault of the program, or memory that the GPU lacks: the others may still work
            traceback.print_exc()
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = _line(error, f"{type(error).__name__}: ") + f" ({Path(place.filename).name}:{place.lineno})"
        else:
            seconds = round(time.perf_counter() - start, 1)
            return Record(
                source, "done", seconds, figures.frames, figures.verdict, output=str(settings.output), call=call
            )
        print(f"failed: {reason}", flush=True)
        seconds = round(time.perf_counter() - start, 1)
        return Record(source, "failed", seconds, output=str(settings.output), reason=reason, call=call)


def _line(error: Exception, prefix: str = "") -> str:
    return f"{prefix}{'; '.join(part.strip() for part in str(error).splitlines() if part.strip())}"
