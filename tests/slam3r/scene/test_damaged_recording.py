"""Results that were cut short, edited or mixed up: replay and evaluation name the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from slam3r.evaluation.recorded_run import _load
from slam3r.scene.recording import open_pointmaps, read_run

SHAPE = (3, 4, 6)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three frames, of which the second has no pose."""
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    np.save(predictions / "registered_pcds.npy", np.ones((*SHAPE, 3), np.float32))
    np.save(predictions / "registered_confs.npy", np.full(SHAPE, 5, np.float32))
    np.save(predictions / "registered_valid.npy", np.ones(SHAPE, np.bool_))
    np.save(predictions / "input_imgs.npy", np.zeros((*SHAPE, 3), np.uint8))
    names = ["a.png", "b.png", "c.png"]
    (predictions / "metadata.json").write_text(json.dumps({"names": names, "intrinsics": np.eye(3).tolist()}))
    (tmp_path / "summary.json").write_text(json.dumps({"confidence_threshold": 2, "frames_without_pose": ["b.png"]}))
    (tmp_path / "trajectory.txt").write_text("0 0 0 0 0 0 0 1\n2 1 0 0 0 0 0 1\n")
    return tmp_path


def test_a_whole_run_is_read(run: Path) -> None:
    recorded = read_run(run)
    assert len(recorded.points) == np.prod(SHAPE) and np.isnan(recorded.camera_to_world[1]).all()


ARRAYS = ("registered_pcds", "registered_confs", "registered_valid", "input_imgs")


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "reshaped", "fewer frames", "objects"])
def test_a_damaged_array_is_one_line(run: Path, name: str, damage: str) -> None:
    path = run / "predictions" / f"{name}.npy"
    array, content = np.load(path), path.read_bytes()
    if damage == "reshaped":
        np.save(path, array.reshape(-1))
    elif damage == "fewer frames":
        np.save(path, array[:2])
    elif damage == "objects":
        np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    else:
        path.write_bytes({"cut": content[:-20], "empty": b"", "noise": b"no array" * 20}[damage])
    with pytest.raises(InputError) as caught:
        read_run(run)
    assert str(run / "predictions") in str(caught.value) and "\n" not in str(caught.value)
    assert "trust" not in str(caught.value) and "pickle" not in str(caught.value)


def test_a_missing_array_is_named(run: Path) -> None:
    (run / "predictions" / "registered_confs.npy").unlink()
    with pytest.raises(InputError, match=r"registered_confs\.npy: No such file"):
        open_pointmaps(run / "predictions")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("summary.json", "{", "not the summary"),
        ("summary.json", "[]", "not the summary"),
        ("summary.json", '{"confidence_threshold": "high", "frames_without_pose": []}', "not the summary"),
        ("predictions/metadata.json", '{"names": ["a"]}', "no 'intrinsics'"),
        ("predictions/metadata.json", '{"names": ["a"], "intrinsics": [1, 2]}', "no 3 x 3 matrix"),
        ("predictions/metadata.json", '{"names": ["a"], "intrinsics": [[1,0,0],[0,1,0],[0,0,1]]}', "1 names"),
        ("trajectory.txt", "0 0 0 0 0 0 0 1\n", "has 1 poses, but the run has 2"),
        ("trajectory.txt", "0 0 0\n", "trajectory.txt:1: expected timestamp"),
    ],
)
def test_a_damaged_description_is_one_line(run: Path, file: str, content: str, told: str) -> None:
    (run / file).write_text(content)
    with pytest.raises(InputError, match=told):
        read_run(run)


def test_a_folder_in_the_place_of_a_file_is_named(run: Path) -> None:
    path = run / "predictions" / "input_imgs.npy"
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"input_imgs\.npy"):
        read_run(run)
    shutil.rmtree(path)


@pytest.mark.parametrize("damage", ["cut", "empty", "json", "shape", "missing", "predictions"])
def test_a_damaged_recording_of_an_evaluation_is_made_again_with_a_line(
    run: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    facts = {"key": "k", "stride": 1, "frames_per_second": 1.0, "peak_memory": 1, "peak_gpu_memory": 0}
    facts |= {"threshold": 2.0, "refined": False, "seconds_refining": 0.0}
    (run / "evaluation_run.json").write_text(json.dumps(facts))
    cameras = run / "cameras.npz"
    np.savez(cameras, camera_to_world=np.tile(np.eye(4), (3, 1, 1)), focal=np.ones(3))
    whole = _load(run)
    assert whole is not None and whole.camera_to_world.shape == (3, 4, 4) and not caplog.records
    if damage == "cut":
        cameras.write_bytes(cameras.read_bytes()[:200])
    elif damage == "empty":
        cameras.write_bytes(b"")
    elif damage == "json":
        (run / "evaluation_run.json").write_text('{"key": "k", "stride"')
    elif damage == "shape":
        np.savez(cameras, camera_to_world=np.eye(4), focal=np.ones(3))
    elif damage == "missing":
        np.savez(cameras, camera_to_world=np.tile(np.eye(4), (3, 1, 1)))
    else:
        (run / "predictions" / "registered_pcds.npy").write_bytes(b"\x93NUMPY")
    assert _load(run) is None
    (record,) = caplog.records
    message = record.getMessage()
    assert str(run) in message and "is damaged" in message and "\n" not in message
