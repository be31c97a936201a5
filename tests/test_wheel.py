"""The wheel works from any folder without the checkout: built, installed beside the environment's packages, run."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import urllib.error
import urllib.request
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.raw_trees import color, depth_units, png, write

pytestmark = pytest.mark.slow

SOURCES = ("common", "slam3r", "uni3r", "data_process", "configs", "checkpoints")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
PORT = 17860


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds the wheel, and sees the packages of this one."""
    pytest.importorskip("setuptools_scm", reason="the extra dev")
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "source")]
    subprocess.run(build, check=True, capture_output=True, timeout=600)
    venv.create(folder / "env")
    (packages,) = (folder / "env").glob("lib/python3*/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    (wheel,) = folder.glob("*.whl")
    run([*pip, "install", "--no-deps", "--no-index", "--target", str(packages), str(wheel)], folder)
    programs = folder / "env" / "bin"
    for name in ("slam3r", "uni3r"):  # pip writes scripts for its own interpreter
        script = packages / "bin" / name
        body = script.read_text().split("\n", 1)[1]
        (programs / name).write_text(f"#!{programs / 'python'}\n{body}")
        (programs / name).chmod(0o755)
    return programs


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of a room."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(0, 10, 2):
        shutil.copy(ROOT / "common/app/assets/sample" / f"frame_{number:02d}.jpg", folder)
    return folder


def run(command: Sequence[str | Path], folder: Path, status: int = 0) -> str:
    """Output of a command in a folder."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=variables, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_no_file_of_the_checkout_is_used(environment: Path, tmp_path: Path) -> None:
    code = "import slam3r, common.configuration as c; print(slam3r.__file__, c.config_folder())"
    places = run([environment / "python", "-c", code], tmp_path).split()
    assert all(Path(place).is_relative_to(environment.parent) for place in places), places
    assert run([environment / "slam3r", "--version"], tmp_path).split()[1][0].isdigit()


def test_slam3r_reconstructs(environment: Path, photos: Path, tmp_path: Path) -> None:
    run([environment / "slam3r", "reconstruct", "photos", "refinement=off", "threads=1"], tmp_path)
    assert (tmp_path / "photos_reconstruction/points.ply").stat().st_size > 10_000
    code = "import slam3r; print(slam3r.reconstruct('photos', refinement='off').points.shape[1])"
    assert run([environment / "python", "-c", code], tmp_path).split()[-1] == "3"


def test_uni3r_renders(environment: Path, photos: Path, tmp_path: Path) -> None:
    pair = [photos / "frame_00.jpg", photos / "frame_02.jpg"]
    run([environment / "uni3r", "render", *pair, "-o", "out", "threads=1"], tmp_path)
    assert (tmp_path / "out/gaussians.ply").stat().st_size > 10_000


def test_data_is_processed(environment: Path, tmp_path: Path) -> None:
    sequence = tmp_path / "raw/rgbd_dataset_freiburg1_desk"
    for kind, picture in (("rgb", color), ("depth", depth_units)):
        for number in range(2):
            write(sequence / kind / f"{number}.0.png", png(picture(number)))
        write(sequence / f"{kind}.txt", "".join(f"{number}.0 {kind}/{number}.0.png\n" for number in range(2)))
    write(sequence / "groundtruth.txt", "".join(f"{number}.0 0 0 {number} 0 0 0 1\n" for number in range(2)))
    run([environment / "python", "-m", "data_process.tum", "raw=raw", "output=out", "workers=0"], tmp_path)
    assert (tmp_path / "out/rgbd_dataset_freiburg1_desk/cameras.npz").is_file()


def test_a_recipe_trains(environment: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="the extra train")
    run([environment / "slam3r", "train", "tiny_i2p", "debug=true", "threads=1", "-o", "out"], tmp_path)
    assert (tmp_path / "out/weights/model.safetensors").is_file()


def test_the_application_answers(environment: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the extra app")
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [environment / "slam3r", "app", f"server.port={PORT}", "threads=1"]
    server = subprocess.Popen(list(map(str, command)), cwd=tmp_path, env=variables)
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=5) as page:
                    assert page.status == 200
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                with pytest.raises(subprocess.TimeoutExpired):
                    server.wait(0.5)
        pytest.fail("no answer for two minutes")
    finally:
        server.terminate()
        server.wait(30)


def test_doctor_knows_where_it_is(environment: Path, tmp_path: Path) -> None:
    report = run([environment / "slam3r", "doctor", "--json"], tmp_path)
    assert "checkpoints/slam3r_tiny/image_to_points" in report
    assert "git checkout" not in report
