"""RedKitchen and a desk of TUM RGB-D: held-out frames, halves that overlap, and places that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import slam3r
from common.errors import InputError
from slam3r.continuation.finished_run import FinishedRun, read_finished_run
from tests.support.finished_runs import pose_errors, to_truth
from tests.support.paths import SHARED_DATA

KITCHEN = SHARED_DATA / "7scenes" / "redkitchen"
DESK = SHARED_DATA / "tum" / "rgbd_dataset_freiburg1_desk_9frames"
SETTINGS = {"keyframe_stride": 1}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (KITCHEN.is_dir() and DESK.is_dir()), reason="needs ../shared/data"),
]


def pictures(frames: range) -> list[Path]:
    """Pictures of the kitchen; there are 150."""
    files = sorted((KITCHEN / "seq-01").glob("*.color.jpg"))
    return [files[frame] for frame in frames]


def truth(names: list[str]) -> torch.Tensor:
    """(N, 4, 4) true poses of the colour camera."""
    to_color = np.linalg.inv(np.loadtxt(KITCHEN / "d_to_rgb.txt"))
    files = [KITCHEN / "seq-01" / f"{Path(name).name.partition('.')[0]}.pose.txt" for name in names]
    return torch.from_numpy(np.array([np.loadtxt(file) @ to_color for file in files]))


def path_error(names: list[str], poses: np.ndarray) -> float:
    """Root mean square distance of the positions from the true ones, metres."""
    target = truth(names)
    transform, _ = to_truth(poses, target)
    return float(np.sqrt(np.mean([pose_errors(p, t, transform)[0] ** 2 for p, t in zip(poses, target.numpy())])))


def reconstruct(frames: range, folder: Path) -> FinishedRun:
    slam3r.reconstruct(pictures(frames), output=folder, settings=SETTINGS, progress=False)
    return read_finished_run(folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return reconstruct(range(0, 90, 9), tmp_path_factory.mktemp("first") / "out")


def test_held_out_frames_are_placed(first: FinishedRun) -> None:
    files = pictures(range(4, 80, 18))
    placed = slam3r.localize(first, files, progress=False)
    transform, _ = to_truth(first.poses, truth([frame.name for frame in first.frames]))
    errors = [
        pose_errors(one.camera_to_world, pose, transform)
        for one, pose in zip(placed, truth([file.name for file in files]).numpy())
        if one.camera_to_world is not None
    ]
    assert len(errors) == len(files)
    metres, degrees = np.median(errors, axis=0)
    assert metres < 0.08 and degrees < 5


def test_a_desk_is_not_in_the_kitchen(first: FinishedRun, tmp_path: Path) -> None:
    desk = sorted((DESK / "rgb").glob("*.png"))
    assert all(one.camera_to_world is None for one in slam3r.localize(first, desk[::3], progress=False))
    slam3r.reconstruct(desk, output=tmp_path / "desk", settings=SETTINGS, refinement="off", progress=False)
    with pytest.raises(InputError, match="the runs do not"):
        slam3r.merge(first.folder, tmp_path / "desk", progress=False)


def test_halves_become_one(first: FinishedRun, tmp_path: Path) -> None:
    extended = slam3r.extend(first, pictures(range(90, 150, 9)), tmp_path / "extended", progress=False)
    names = [frame.name for frame in extended.frames]
    np.testing.assert_allclose(extended.camera_to_world[: len(first.frames)], first.poses, atol=1e-5)
    assert path_error(names, extended.camera_to_world) < 0.1
    second = reconstruct(range(63, 150, 9), tmp_path / "second")
    merged = slam3r.merge(first.folder, second.folder, progress=False)
    assert path_error([frame.name for frame in merged.frames], merged.camera_to_world) < 0.1
