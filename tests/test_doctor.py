from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.command.doctor.packages import DISTRIBUTIONS, OPTIONAL

DOCTOR = "scripts/doctor.py"


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


def _findings(run: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    assert run.stdout, run.stderr
    return {finding["name"]: finding for finding in json.loads(run.stdout)}


def test_reports_a_working_installation(root: Path) -> None:
    findings = _findings(_run(root, DOCTOR, "--json"))
    for name in ("Python", "torch", "torchvision", "open3d", "cv2"):
        assert findings[name]["state"] == "ok", findings[name]
    for name in ("Processor", "GPU" if "GPU" in findings else "GPU 0", "extra uni3r", "ffmpeg", "Model hub"):
        assert findings[name]["text"]


def test_every_package_of_every_extra_is_looked_for(root: Path) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11")
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = {
        extra: {re.split(r"[^\w-]", package)[0] for package in packages}
        for extra, packages in project["optional-dependencies"].items()
    }
    del extras["all"]
    for extra, packages in extras.items():
        _, modules = OPTIONAL[extra]
        known = {DISTRIBUTIONS.get(module, module) for module in modules}
        assert packages - {"async-timeout", "setuptools"} <= known, extra


def test_works_without_any_package(root: Path) -> None:
    run = _run(root, "-S", DOCTOR, "--json")  # -S: the environment's packages are out of reach
    assert run.returncode == 1
    findings = _findings(run)
    assert findings["torch"]["state"] == "missing"
    assert findings["torch"]["repair"] == "bash scripts/setup.sh"
    assert "numpy" in _run(root, "-S", DOCTOR).stdout


def test_check_is_silent_when_all_is_well(root: Path) -> None:
    run = _run(root, DOCTOR, "--check")
    assert (run.returncode, run.stdout) == (0, ""), run.stderr


def test_check_names_a_pair_that_does_not_match(root: Path, tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text(
        "__version__ = '0.1'\nraise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, DOCTOR, "--check"], cwd=root, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 1
    line = run.stderr.splitlines()[-1]
    assert "are not a matching pair" in line
    assert "pip install" in line


def test_licence_of_weights_is_shown(root: Path) -> None:
    configs = sorted((root / "checkpoints").glob("**/config.json"))
    findings = _findings(_run(root, DOCTOR, "--json"))
    for config in configs:
        finding = findings[str(config.parent.relative_to(root))]
        assert json.loads(config.read_text())["metadata"]["license"] in finding["text"]
