"""Helper processes do not outlive their parent, and Ctrl-C is not for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

_SECONDS = 60.0


@pytest.fixture
def parent() -> Iterator[subprocess.Popen]:
    """A process with one helper, which prints its id when it is ready."""
    code = "from tests.support.helper_process import start_helper; start_helper()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def helper_of(parent: subprocess.Popen) -> psutil.Process:
    assert parent.stdout is not None
    return psutil.Process(int(parent.stdout.readline()))


def test_a_helper_ends_when_its_parent_is_killed(parent: subprocess.Popen) -> None:
    helper = helper_of(parent)
    parent.send_signal(signal.SIGKILL)
    helper.wait(_SECONDS)


@pytest.mark.skipif(os.name == "nt", reason="signals and nice")
def test_a_helper_leaves_interrupts_to_its_parent_and_the_processor_to_others(parent: subprocess.Popen) -> None:
    helper = helper_of(parent)
    helper.send_signal(signal.SIGINT)
    with pytest.raises(psutil.TimeoutExpired):
        helper.wait(0.5)
    assert helper.nice() == min(19, os.nice(0) + 5)
