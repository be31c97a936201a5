"""Paths of the repository's own files, and of the optional folder of recorded vectors and real images beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
GOLDENS = ROOT / "tests" / "goldens"
SHARED = ROOT.parent / "shared"
"""Not part of the repository: tests that want it skip where it is missing."""
SHARED_DATA = SHARED / "data"
