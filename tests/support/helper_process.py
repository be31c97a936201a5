"""A parent and its helper, for tests that end one of them."""

from __future__ import annotations

import multiprocessing
import os
import time

from common.processes import become_helper


def start_helper() -> None:
    """The parent: starts a helper and waits for it."""
    process = multiprocessing.get_context("spawn").Process(target=_work)
    process.start()
    process.join()


def _work() -> None:
    become_helper(niceness=5)
    print(os.getpid(), flush=True)
    time.sleep(600)
