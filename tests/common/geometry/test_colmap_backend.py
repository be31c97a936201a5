"""pycolmap, as other modules get it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("told to stop", flush=True), sys.exit(0)))
from common.geometry.colmap_backend import pycolmap_module
pycolmap_module()
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_program_still_hears_that_it_is_told_to_stop() -> None:
    """pycolmap itself would abort it with a stack trace."""
    pytest.importorskip("pycolmap")
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "told to stop\n"), ended.stderr
