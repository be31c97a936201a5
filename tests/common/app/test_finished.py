"""A result folder is shown from its files; what is no result, or damaged, is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio", reason="comes with the extra app")

from starlette.testclient import TestClient

from common.app.finished import read_finished
from common.app.server import make_viewer
from common.errors import InputError
from common.export.mesh import read_mesh
from common.export.ply import write_ply
from common.export.result_folder import write_image
from common.export.trajectory import write_tum

SENTENCE = "pictures and cameras do NOT agree, do not trust this: nothing could be matched"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A refined run: points that 1, 3 or 5 views see, two cameras, the scene before, a picture and a summary."""
    points = np.random.default_rng(0).normal(size=(900, 3)).astype(np.float32)
    views = np.repeat(np.array([1, 3, 5], np.float32), 300)
    colors = np.repeat(np.arange(3, dtype=np.uint8), 300)[:, None].repeat(3, axis=1)
    write_ply(tmp_path / "points.ply", points, colors, views)
    write_ply(tmp_path / "unrefined.ply", points[:50], colors[:50], views[:50])
    poses = np.tile(np.eye(4), (2, 1, 1))
    write_tum(tmp_path / "trajectory.txt", [0.0, 1.0], poses)
    write_tum(tmp_path / "unrefined_trajectory.txt", [0.0, 1.0], poses)
    write_image(tmp_path / "frames.png", np.zeros((8, 8, 3), np.uint8))
    verdict = {"applied": "dense", "agrees": False, "sentence": SENTENCE, "epipolar_error": 0.25}
    summary = {"frames": 2, "verdict": verdict, "warnings": [SENTENCE, "one file was skipped"], "model": {"name": "m"}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def test_a_refined_run_comes_back_whole(folder: Path) -> None:
    found = read_finished(folder)
    assert len(found.cloud.points) == 900 and len(found.frames) == 2
    assert found.levels.default == 3 and found.levels.chosen(found.cloud.confidence, 3).sum() == 600
    assert (found.cloud.colors[:, 0] == (found.cloud.confidence - 1) / 2).all(), "points keep their own colours"
    assert found.before is not None and len(found.before.cloud.points) == 50 and len(found.before.cameras) == 2
    assert found.verdict == SENTENCE and found.agrees is False and found.warnings == ["one file was skipped"]
    assert found.figures["epipolar error"] == "0.25" and found.figures["model"] == "m"
    assert [picture.caption for picture in found.strip] == ["frames.png"]


def test_points_alone_are_enough(folder: Path) -> None:
    for file in folder.iterdir():
        if file.name != "points.ply":
            file.unlink()
    found = read_finished(folder)
    assert found.before is None and not found.frames and found.levels.default == 100, "all that was written is shown"


def test_a_mesh_is_shown_where_a_segment_has_one(folder: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    header += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    (folder / "mesh.ply").write_text(f"{header}0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    found = read_finished(folder)
    assert found.mesh is not None and found.mesh.triangles.tolist() == [[0, 1, 2]]
    write_ply(folder / "mesh.ply", np.zeros((3, 3)))
    with pytest.raises(InputError, match="triangles"):
        read_mesh(folder / "mesh.ply")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("points.ply", b"plyless", "points.ply is not a PLY file"),
        ("points.ply", None, "no result of a run"),
        ("unrefined.ply", b"", "unrefined.ply is not a PLY file"),
        ("trajectory.txt", b"1 2 3", "trajectory.txt"),
        ("summary.json", b"{", "summary.json: not the summary of a run"),
        ("summary.json", b"[]", "summary.json: not the summary of a run"),
    ],
)
def test_what_cannot_be_shown_is_named(folder: Path, name: str, content: bytes | None, reason: str) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_finished(folder)


def test_a_folder_of_results_names_them(folder: Path) -> None:
    with pytest.raises(InputError, match=rf"there are results in {folder.name}"):
        read_finished(folder.parent)
    with pytest.raises(InputError, match="is no folder"):
        read_finished(folder / "points.ply")


def test_odd_values_in_a_summary_do_no_harm(folder: Path) -> None:
    odd: dict[str, Any] = {"verdict": "good", "warnings": 3, "model": None, "frames": float("nan")}
    (folder / "summary.json").write_text(json.dumps(odd))
    assert read_finished(folder).verdict == ""


def test_the_page_is_served_with_its_pictures_and_its_scene(folder: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")
        with TestClient(make_viewer("kitchen", read_finished(folder), tmp_path / "files")) as client:
            page = client.get("/").text
            assert "kitchen" in page and "do NOT agree" in page and "Reconstruct" not in page
            token = page.partition("viewer.html?scene=")[2][:32]
            scene = client.get(f"/scene/{token}")
            assert scene.status_code == 200 and b"before_points" in scene.content
            config = client.get("/config").json()
            pictures = [one["image"]["path"] for one in _gallery(config)]
            assert pictures and client.get(f"/gradio_api/file={pictures[0]}").status_code == 200


def _gallery(config: dict[str, Any]) -> list[dict[str, Any]]:
    return next(part["props"]["value"] for part in config["components"] if part["props"].get("elem_id") == "strip")
