"""Scripts as users start them, in the test's own process, and a model of random weights to start them with."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from tests.support.paths import ROOT
from tests.support.tiny_scene import save_weights

SCRIPTS = ROOT / "scripts"


def run_script(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """``python scripts/NAME.py ARGUMENTS``; its exit status. The process is left as it was."""
    script = str(SCRIPTS / f"{name}.py")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    GlobalHydra.instance().clear()
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        GlobalHydra.instance().clear()
    return 0


def random_model(folder: Path) -> tuple[str, ...]:
    """Overrides that put random weights of a toy size, written to the folder, in the place of the model's own."""
    weights = save_weights(folder)
    names = ("image_to_points", "local_to_world")
    return "~model.sizes", *(f"model.weights.{name}={weights / name}" for name in names)
