"""The ScanNet test set of LSM to the processed layout."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigurationError
from data_process.lsm_scannet_test import LsmSettings, convert, find_scenes
from data_process.writing.manifest import DatasetInfo
from data_process.writing.runner import ProcessSummary, process
from tests.support.raw_trees import INTRINSICS, color, depth_units, jpeg, png, pose, read_plane, write

NAMES = ["0", "100", "20", "300"]  # in the order of strings, which is that of the protocol


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    for scene in ("scene0686_01", "scene0696_02"):
        for number, name in enumerate(NAMES):
            write(folder / scene / f"images/{name}.jpg", jpeg(color(number)))
            write(folder / scene / f"depths/{name}.png", png(depth_units(number)))
            write(folder / scene / f"labels/{name}.png", png(np.full((24, 32), number, np.uint16)))
            buffer = io.BytesIO()
            np.savez(buffer, camera_pose=pose(number), camera_intrinsics=INTRINSICS)
            write(folder / scene / f"images/{name}.npz", buffer.getvalue())
    write(folder / "selected_seqs_test.json", json.dumps({"scene0686_01": ["300", "0", "20"], "scene0696_02": []}))
    write(folder / "scannetv2-labels.combined.tsv", "id\tnyu40class\n1\twall\n2\tbed\n3\tbooks\n")
    return folder


def run(raw: Path, output: Path, **settings) -> ProcessSummary:
    chosen = LsmSettings(raw=str(raw), output=str(output), workers=0, **settings)
    return process(DatasetInfo("lsm", "none"), find_scenes(chosen), partial(convert, settings=chosen), chosen)


def test_frames_are_counted_as_the_protocol_counts_them(raw: Path, tmp_path: Path) -> None:
    assert run(raw, tmp_path / "out", ignored=["scene0696_02"]).written == ["scene0686_01"]
    scene = tmp_path / "out/scene0686_01"
    cameras = np.load(scene / "cameras.npz")
    assert cameras["number"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(cameras["camera_to_world"], [pose(number) for number in range(4)], atol=1e-6)
    np.testing.assert_array_equal(read_plane(scene / "depth/000001.png"), depth_units(1))  # frame "100"
    assert [read_plane(scene / f"label/{number:06d}.png")[0, 0] for number in range(4)] == [255, 0, 6, 7]
    attributes = json.loads((scene / "scene.json").read_text())["attributes"]
    assert attributes["names"] == NAMES and attributes["selected"] == [0, 2, 3]


def test_faults(raw: Path, tmp_path: Path) -> None:
    scene = raw / "scene0686_01"
    (scene / "images/100.npz").write_bytes((scene / "images/100.npz").read_bytes()[:300])
    (scene / "labels/20.png").unlink()
    np.savez(scene / "images/300.npz", camera_pose=np.full((4, 4), -np.inf), camera_intrinsics=INTRINSICS)
    summary = run(raw, tmp_path / "out")
    assert summary.dropped == {"damaged camera file": 1, "no label image": 1, "pose is not finite": 1}
    (raw / "selected_seqs_test.json").unlink()
    with pytest.raises(ConfigurationError, match=r"selected_seqs_test.json: No such file"):
        run(raw, tmp_path / "out2")
