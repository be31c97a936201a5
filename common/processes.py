"""Helper processes: they leave Ctrl-C to their parent, and end when it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def become_helper(niceness: int = 0) -> None:
    """Make this process, which `multiprocessing` started, a helper of its parent.

    Ctrl-C is the parent's to handle. When the parent is gone, this process ends at once, whatever it is doing, also if
    the parent was killed and could tell nobody: the operating system closes a pipe between the two.

    Args:
        niceness: lowers the priority by so much; without effect on Windows.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
