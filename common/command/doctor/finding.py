"""A line of the report, and the installation that is examined."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PACKED = Path(__file__).resolve().parents[2] / "shipped"
"""Configurations and weights that a wheel carries."""
IS_CHECKOUT = not PACKED.is_dir()
ROOT = Path(__file__).resolve().parents[3] if IS_CHECKOUT else PACKED
"""Folder that holds ``checkpoints``."""
SETUP = "bash scripts/setup.sh" if IS_CHECKOUT else f"{sys.executable} -m pip install --force-reinstall the wheel"
State = Literal["ok", "slow", "missing", "optional"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: State
    text: str
    repair: str = ""
