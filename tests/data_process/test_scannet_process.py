"""ScanNet, from .sens files and from the extracted layout, to the processed layout."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigurationError
from data_process.formats.scannet_labels import CLASSES, UNLABELLED, LabelTable
from data_process.scannet import ScanNetSettings, convert, find_scenes
from data_process.writing.manifest import DatasetInfo, verify
from data_process.writing.runner import ProcessSummary, process
from tests.support.raw_trees import (
    INTRINSICS,
    SIZE,
    color,
    depth_units,
    jpeg,
    png,
    pose,
    read_color,
    read_plane,
    sens_bytes,
    write,
)
from tests.support.uni3r_parity import find

TABLE = (
    "id\traw_category\tcategory\tcount\tnyu40id\tnyuClass\tnyu40class\n"
    "1\twall\twall\t8277\t1\twall\twall\n"
    "2\tchair\tchair\t4646\t5\tchair\tchair\n"
    '14\t24" monitor\tmonitor\t9\t40\tmonitor\totherprop\n'
    "1163\tcouch\tcouch\t5\t6\tsofa\tsofa\n"
)
RAW_IDS = np.array([0, 1, 2, 14, 1163, 900], np.uint16)
EXPECTED = [255, CLASSES.index("wall"), CLASSES.index("chair"), 7, CLASSES.index("sofa"), 7]


def test_published_mapping_of_raw_ids(tmp_path: Path) -> None:
    """There classes count from 1, and 0 is unlabelled."""
    recorded = json.loads(find("protocol.json").read_text())["label_map"]
    rows = [f"{number}\t{name}\n" for number, name in recorded["nyu40class_of_id"].items()]
    write(tmp_path / "labels.tsv", "id\tnyu40class\n" + "".join(rows))
    assert list(CLASSES) == recorded["labels"]
    found = LabelTable(tmp_path / "labels.tsv")(np.array(recorded["raw_ids"]))
    assert found.tolist() == [value - 1 if value else UNLABELLED for value in recorded["mapped"]]


def run(raw: Path, output: Path, **settings) -> ProcessSummary:
    chosen = ScanNetSettings(raw=str(raw), output=str(output), workers=0, **settings)
    return process(DatasetInfo("scannet", "none"), find_scenes(chosen), partial(convert, settings=chosen), chosen)


def numbers(folder: Path) -> list[int]:
    return np.load(folder / "cameras.npz")["number"].tolist()


def reasons(folder: Path) -> dict[int, str]:
    return {entry["frame"]: entry["reason"] for entry in json.loads((folder / "scene.json").read_text())["dropped"]}


def labels(number: int) -> np.ndarray:
    """Raw ids at the size of the colour image: vertical stripes of two pixels, so that any scaling to half is exact."""
    return np.tile(np.roll(RAW_IDS, number)[np.arange(64) // 2 % 6], (48, 1))


def write_extracted(folder: Path, count: int = 5) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = INTRINSICS
    write(folder / "intrinsic/intrinsic_depth.txt", matrix)
    for number in range(count):
        write(folder / f"color/{number}.jpg", jpeg(color(number, (48, 64))))
        write(folder / f"depth/{number}.png", png(depth_units(number)))
        write(folder / f"pose/{number}.txt", pose(number))


def test_a_sens_file_with_zipped_labels(tmp_path: Path) -> None:
    scan = tmp_path / "raw/scans/scene0000_00"
    write(scan / "scene0000_00.sens", sens_bytes([pose(number) for number in range(25)]))
    write(tmp_path / "raw/scannetv2-labels.combined.tsv", TABLE)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in (0, 10):  # frame 20 has none
            file.writestr(f"label-filt/{number}.png", png(labels(number)))
    write(scan / "scene0000_00_2d-label-filt.zip", buffer.getvalue())
    summary = run(tmp_path / "raw", tmp_path / "out")
    scene = tmp_path / "out/scene0000_00"
    assert summary.written == ["scene0000_00"] and numbers(scene) == [0, 10, 20]
    cameras = np.load(scene / "cameras.npz")
    np.testing.assert_allclose(cameras["camera_to_world"], [pose(0), pose(10), pose(20)], atol=1e-5)
    np.testing.assert_allclose(cameras["intrinsics"][0], INTRINSICS, atol=1e-5)  # of the depth camera
    np.testing.assert_allclose(cameras["timestamp"], [0, 0.33, 0.66])
    np.testing.assert_array_equal(read_plane(scene / "depth/000010.png"), depth_units(10))
    image = read_color(scene / "color/000010.jpg")
    assert image.shape == (*SIZE, 3) and np.abs(image.astype(int) - color(10)).max() <= 8  # scaled to the depth's size
    assert read_plane(scene / "label/000000.png")[0, :6].tolist() == EXPECTED
    assert read_plane(scene / "label/000010.png")[0, :6].tolist() == np.roll(EXPECTED, 10).tolist()
    assert (read_plane(scene / "label/000020.png") == 255).all()
    facts = json.loads((scene / "scene.json").read_text())
    assert facts["attributes"] == {"sensor": "StructureSensor", "number_step": 10} and facts["has_labels"]
    assert verify(tmp_path / "out") == []


def test_lost_poses_are_dropped(tmp_path: Path) -> None:
    poses = [pose(number) for number in range(5)]
    poses[1], poses[3] = np.full((4, 4), -np.inf), poses[3] * np.nan
    write(tmp_path / "raw/s/s.sens", sens_bytes(poses))
    run(tmp_path / "raw", tmp_path / "out", every=1)
    assert numbers(tmp_path / "out/s") == [0, 2, 4]
    assert reasons(tmp_path / "out/s") == {1: "pose is not finite", 3: "pose is not finite"}


def test_a_truncated_sens_file_keeps_what_is_whole(tmp_path: Path) -> None:
    content = sens_bytes([pose(number) for number in range(9)])
    write(tmp_path / "raw/s/s.sens", content[: len(content) // 2])
    summary = run(tmp_path / "raw", tmp_path / "out", every=2)
    assert numbers(tmp_path / "out/s") == [0, 2]
    assert reasons(tmp_path / "out/s") == dict.fromkeys((4, 6, 8), "the .sens file ends early")
    assert summary.dropped == {"the .sens file ends early": 3}


def test_a_sens_file_without_a_header_fails_and_others_go_on(tmp_path: Path) -> None:
    write(tmp_path / "raw/a/a.sens", b"nothing")
    write(tmp_path / "raw/b/b.sens", sens_bytes([pose(0)]))
    summary = run(tmp_path / "raw", tmp_path / "out")
    assert summary.written == ["b"] and "a.sens: ends within its header" in summary.failed["a"]


def test_the_extracted_layout(tmp_path: Path) -> None:
    folder = tmp_path / "raw/scene0001_00"
    write_extracted(folder)
    write(tmp_path / "table.tsv", TABLE)
    for number in range(5):
        write(folder / f"label-filt/{number}.png", png(labels(number)))
    write(folder / "pose/1.txt", "-inf " * 16)
    write(folder / "depth/2.png", png(depth_units(2))[:-30])
    (folder / "depth/3.png").unlink()
    run(tmp_path / "raw", tmp_path / "out", every=1, label_table=str(tmp_path / "table.tsv"))
    scene = tmp_path / "out/scene0001_00"
    assert numbers(scene) == [0, 4]
    assert reasons(scene) == {1: "pose is not finite", 2: "damaged depth image", 3: "no depth image"}
    np.testing.assert_array_equal(read_plane(scene / "depth/000004.png"), depth_units(4))
    assert read_plane(scene / "label/000004.png")[5, :6].tolist() == np.roll(EXPECTED, 4).tolist()
    np.testing.assert_allclose(np.load(scene / "cameras.npz")["intrinsics"][0], INTRINSICS, atol=1e-5)


def test_both_layouts_give_the_same(tmp_path: Path) -> None:
    write_extracted(tmp_path / "raw/a")
    write(tmp_path / "raw/b/b.sens", sens_bytes([pose(number) for number in range(5)]))
    run(tmp_path / "raw", tmp_path / "out", every=2)
    for name in ("color/000002.jpg", "depth/000004.png"):
        assert (tmp_path / "out/a" / name).read_bytes() == (tmp_path / "out/b" / name).read_bytes()


def test_labels_need_their_table(tmp_path: Path) -> None:
    write_extracted(tmp_path / "raw/a", count=1)
    write(tmp_path / "raw/a/label-filt/0.png", png(labels(0)))
    with pytest.raises(ConfigurationError, match=r"label_table: .*labels.combined.tsv is missing"):
        run(tmp_path / "raw", tmp_path / "out")
    write(tmp_path / "raw/scannetv2-labels.combined.tsv", "something else\n1\n")
    with pytest.raises(ConfigurationError, match="no columns id and nyu40class"):
        run(tmp_path / "raw", tmp_path / "out")
    run(tmp_path / "raw", tmp_path / "out", labels=False)
    assert not (tmp_path / "out/a/label").exists()


def test_the_real_label_table(root: Path) -> None:
    path = root.parent / "shared/data/labels/scannetv2-labels.combined.tsv"
    if not path.exists():
        pytest.skip("needs ../shared/data/labels")
    table = LabelTable(path)
    # wall, chair, books, floor, and ids that no table has
    assert table(np.array([[0, 1, 2, 22, 3, 60000]])).tolist() == [[255, 0, 3, 7, 1, 7]]
