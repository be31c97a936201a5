"""A scene on disk is whole, or it is not there; bad frames are left out and listed."""

from __future__ import annotations

import errno
import fcntl
import json
from pathlib import Path

import numpy as np
import pytest

from data_process.errors import SceneError, SceneTakenError, WriteError
from data_process.writing.scene_writer import SceneWriter
from tests.support.raw_trees import INTRINSICS, color, depth_units, fill, jpeg, pose, read_color, read_plane


def facts(folder: Path) -> dict:
    return json.loads((folder / "scene.json").read_text())


def test_what_was_added_can_be_read(tmp_path: Path) -> None:
    label = (np.arange(24 * 32).reshape(24, 32) % 8).astype(np.uint8)
    with SceneWriter(tmp_path / "room", attributes={"split": "train"}) as writer:
        for number in (7, 3):  # any order
            depth = depth_units(number) / 1000
            arguments = (number, color(number), depth, pose(number), INTRINSICS)
            assert writer.add(*arguments, label=label, mask=label > 3, timestamp=number / 30)
    cameras = np.load(tmp_path / "room/cameras.npz")
    assert cameras["number"].tolist() == [3, 7] and cameras["number"].dtype == np.int64
    np.testing.assert_allclose(cameras["camera_to_world"], [pose(3), pose(7)], atol=1e-6)
    np.testing.assert_allclose(cameras["intrinsics"], [INTRINSICS, INTRINSICS], atol=1e-5)
    np.testing.assert_allclose(cameras["timestamp"], [0.1, 7 / 30])
    assert {cameras[name].dtype for name in ("camera_to_world", "intrinsics")} == {np.dtype(np.float32)}
    assert np.abs(read_color(tmp_path / "room/color/000007.jpg").astype(int) - color(7)).max() <= 6
    np.testing.assert_array_equal(read_plane(tmp_path / "room/depth/000007.png"), depth_units(7))
    np.testing.assert_array_equal(read_plane(tmp_path / "room/label/000003.png"), label)
    np.testing.assert_array_equal(read_plane(tmp_path / "room/mask/000003.png"), 255 * (label > 3))
    found = facts(tmp_path / "room")
    assert found["frames"] == 2 and found["image_size"] == [24, 32] and found["attributes"] == {"split": "train"}
    assert found["depth_range"] == pytest.approx([1.301, 1.7 + 0.023 + 0.062])
    assert [path.name for path in tmp_path.iterdir()] == ["room"]  # no traces


def test_jpeg_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    content = jpeg(color(1))
    with SceneWriter(tmp_path / "room") as writer:
        writer.add(1, content, depth_units(1) / 1000, pose(1), INTRINSICS)
    assert (tmp_path / "room/color/000001.jpg").read_bytes() == content


def test_depth_that_16_bits_cannot_hold_becomes_invalid(tmp_path: Path) -> None:
    depth = np.array([[1.0, np.nan, np.inf, -1.0], [65.535, 65.6, 1e9, 0.0001]])
    with SceneWriter(tmp_path / "room") as writer:
        writer.add(0, np.zeros((2, 4, 3), np.uint8), depth, np.eye(4), np.eye(3))
    assert read_plane(tmp_path / "room/depth/000000.png").tolist() == [[1000, 0, 0, 0], [65535, 0, 0, 0]]


def test_bad_frames_are_dropped_counted_and_listed(tmp_path: Path) -> None:
    nan, skewed, mirrored = pose(1), pose(2), np.diag([1.0, 1.0, -1.0, 1.0])
    nan[0, 3], skewed[0, 0] = np.nan, 3.0
    depth = depth_units(0) / 1000
    with SceneWriter(tmp_path / "room") as writer:
        assert writer.add(0, color(0), depth, pose(0), INTRINSICS)
        assert not writer.add(1, color(0), depth, nan, INTRINSICS)
        assert not writer.add(2, color(0), depth, skewed, INTRINSICS)
        assert not writer.add(3, color(0), depth, mirrored, INTRINSICS)
        assert not writer.add(4, color(0), np.zeros_like(depth), pose(0), INTRINSICS)
        assert not writer.add(5, color(0), depth[1:], pose(0), INTRINSICS)
        assert not writer.add(6, jpeg(color(0))[:-200], depth, pose(0), INTRINSICS)
        assert not writer.add(7, color(0), depth, pose(0), INTRINSICS * np.nan)
        writer.drop(8, "no depth image")
    dropped = {entry["frame"]: entry["reason"] for entry in facts(tmp_path / "room")["dropped"]}
    assert list(dropped) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert dropped[1] == "pose is not finite" and dropped[4] == "no valid depth" and dropped[8] == "no depth image"
    assert "not a rotation" in dropped[2] and "not a rotation" in dropped[3]
    assert "sizes differ" in dropped[5] and "damaged color image" in dropped[6] and "intrinsics" in dropped[7]
    assert np.load(tmp_path / "room/cameras.npz")["number"].tolist() == [0]
    assert len(list((tmp_path / "room").rglob("*.*g"))) == 2  # one colour, one depth: nothing of the others


def test_labels_are_for_all_frames_or_for_none(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="frame 3 of room: all frames have a label"),
        SceneWriter(tmp_path / "room") as writer,
    ):
        fill(writer)
        writer.add(3, color(3), depth_units(3) / 1000, pose(3), INTRINSICS, label=np.zeros((24, 32), np.uint8))


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), SceneWriter(tmp_path / "room") as writer:
        fill(writer)
        raise KeyError("in the middle")
    assert not list(tmp_path.iterdir())


def test_a_scene_without_a_usable_frame_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(SceneError, match=r"room: no usable frame \(no depth image\)"),
        SceneWriter(tmp_path / "room") as writer,
    ):
        writer.drop(0, "no depth image")
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".room.12345/color").mkdir(parents=True)
    (tmp_path / ".room.lock").touch()  # kill -9 leaves the file, not the lock
    (tmp_path / ".room2.99").mkdir()  # another scene's
    with SceneWriter(tmp_path / "room") as writer:
        fill(writer)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".room2.99", "room"]


def test_two_runs_do_not_write_one_scene(tmp_path: Path) -> None:
    with (tmp_path / ".room.lock").open("w") as other_run:
        fcntl.flock(other_run, fcntl.LOCK_EX)
        with pytest.raises(SceneTakenError, match="room is being written by another run"):
            SceneWriter(tmp_path / "room").__enter__()
    with SceneWriter(tmp_path / "room") as writer:  # the other run died
        fill(writer)
    with pytest.raises(SceneTakenError, match="has been written already"):
        SceneWriter(tmp_path / "room").__enter__()


def test_what_is_no_scene_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    with pytest.raises(SceneError, match="room is there, but is no processed scene; move it away"):
        SceneWriter(tmp_path / "room").__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["room"]


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(WriteError, match=r"cannot write .*000000.jpg: No space left on device"),
        SceneWriter(tmp_path / "room") as writer,
    ):
        monkeypatch.setattr(Path, "write_bytes", full)
        fill(writer)
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"cannot write .*file"):
        SceneWriter(tmp_path / "file" / "room").__enter__()
