"""Background jobs in threads, with a generator of progress messages."""

from __future__ import annotations

import html
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from common.app.contract import Cancelled, Watcher
from common.app.remaining import duration_in_words
from common.errors import CheckpointError, ConfigurationError, InputError

logger = logging.getLogger(__name__)

USER_ERRORS = (InputError, CheckpointError, ConfigurationError)
INTERNAL = "Something went wrong inside the program; its log says what. Other input or parameters may work."
_POLL_SECONDS = 0.4

T = TypeVar("T")


class Job(Generic[T]):
    """A function in a thread. Iterate to follow it; then `result` or `error` is set, or neither if it was cancelled."""

    def __init__(self, function: Callable[[], T], watcher: Watcher, explain: Callable[[Exception], str] = str) -> None:
        """
        Args:
            function: the work; it reports to `watcher`.
            watcher: progress of the work.
            explain: turns an error of the user's into a sentence.
        """
        self.result: T | None = None
        self.error: str | None = None
        self._function, self._watcher, self._explain = function, watcher, explain
        self._thread = threading.Thread(target=self._work, name="job", daemon=True)

    def __iter__(self) -> Iterator[str]:
        """HTML of the progress, again and again until the work has ended. Left early, the work is cancelled."""
        self._thread.start()
        try:
            while self._thread.is_alive():
                yield progress_bar(*self._watcher.state)
                self._thread.join(_POLL_SECONDS)
        finally:
            if self._thread.is_alive():
                self._watcher.cancel()
                self._thread.join()

    def _work(self) -> None:
        try:
            self.result = self._function()
        except Cancelled:
            pass
        except USER_ERRORS as error:
            self.error = self._explain(error)
        except MemoryError:
            self.error = "There is not enough memory for this: give fewer or smaller pictures."
        except Exception:
            logger.exception("a run failed")
            self.error = INTERNAL


def progress_bar(stage: str, done: float, total: float | None, remaining: float | None = None) -> str:
    """HTML of a progress bar with its words.

    Args:
        stage: name of the stage.
        done: steps of the stage that are done.
        total: steps of the stage; 1 where `done` is a share, None where nobody knows.
        remaining: seconds until the end of all stages, if they can be estimated.
    """
    text = html.escape(stage[:1].upper() + stage[1:])
    share = f' value="{done:g}" max="{total:g}"' if total else ""
    count = f": {done:.0%}" if total == 1 else f": {done:g} of {total:g}" if total else ""
    rest = "" if remaining is None else f'<span class="rest">about {duration_in_words(remaining)} left</span>'
    words = f"<span>{text}{count}</span>{rest}"
    return f'<label class="progress">{words}<progress{share} aria-label="Progress"></progress></label>'


def message(text: str, alert: bool = False) -> str:
    """HTML of a sentence; an alert is read out at once."""
    kind = "alert" if alert else "status"
    return f'<p class="{kind}" role="{kind}">{html.escape(text)}</p>'
