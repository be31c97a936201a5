"""Two runs into one: the similarity and the path against the truth, and refusals of rooms that do not overlap."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from scipy.spatial.transform import Rotation

import slam3r
from common.errors import ConfigurationError, InputError
from common.export.ply import read_ply
from common.export.trajectory import read_tum
from common.refinement.cameras.gauge import Similarity
from common.refinement.settings import CameraSettings
from slam3r.continuation.finished_run import read_finished_run
from slam3r.continuation.merge import take_cameras
from slam3r.continuation.merging.joint_adjustment import adjust_together
from slam3r.continuation.merging.similarity import SharedPoints, find_similarity
from slam3r.continuation.names import prefix_of_new
from slam3r.continuation.scene_of_run import scene_of_run
from slam3r.continuation.settings import MergingSettings
from tests.slam3r.continuation.conftest import Run
from tests.slam3r.continuation.test_localize import run
from tests.support.finished_runs import pose_errors, to_truth


@pytest.fixture(scope="module")
def merged(first: Run, second: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[slam3r.Scene, Path]:
    folder = tmp_path_factory.mktemp("merged") / "both"
    return slam3r.merge(first.folder, second.folder, folder, progress=False), folder


def test_both_stand_in_one_world(merged: tuple[slam3r.Scene, Path], first: Run, second: Run) -> None:
    scene, _ = merged
    count = len(first.scene.frames)
    np.testing.assert_allclose(scene.camera_to_world[:count], first.scene.camera_to_world, atol=1e-5)
    transform, scale = to_truth(first.scene.camera_to_world, first.room.camera_to_world)
    for pose, truth in zip(scene.camera_to_world[count:], second.room.camera_to_world.numpy()):
        metres, degrees = pose_errors(pose, truth, transform)
        assert metres < 0.05 and degrees < 1
    _, own = to_truth(second.scene.camera_to_world, second.room.camera_to_world)
    told = scene.made_from["merge"]
    assert told["similarity"]["scale"] == pytest.approx(own / scale, rel=0.03)
    assert told["residual_in_first"] == pytest.approx(told["similarity"]["scale"] * told["residual_in_second"])
    assert told["residual_relative"] < 0.01 and told["inliers"] > 1000


def test_cameras_that_disagree_are_adjusted_together(first: Run, second: Run) -> None:
    """The second run is bent by up to 2 cm and half a degree along its path."""
    runs = [read_finished_run(one.folder) for one in (first, second)]
    frames, straight = [*runs[0].frames, *runs[1].frames], []
    for made, one in zip(runs, (first, second)):
        transform, scale = to_truth(made.poses, one.room.camera_to_world)
        straight += [*Similarity(scale, transform[:3, :3] / scale, transform[:3, 3]).poses(made.poses)]
    bent = np.array(straight)
    for number, share in enumerate(np.linspace(0, 1, 5), start=5):
        bent[number, :3, 3] += share * np.array([0.02, 0, 0.01])
        bent[number, :3, :3] = Rotation.from_euler("y", 0.5 * share, degrees=True).as_matrix() @ bent[number, :3, :3]
    adjusted = adjust_together(frames, bent, 5, CameraSettings(threads=1))
    assert adjusted is not None and adjusted.error_after < 0.5 * adjusted.error_before
    truth = np.concatenate([run.room.camera_to_world.numpy() for run in (first, second)])
    assert path_error(adjusted.after, truth) < 0.6 * path_error(bent, truth)
    seen_by = [
        set(adjusted.tracks.frame[adjusted.tracks.point == point]) for point in range(len(adjusted.tracks.points))
    ]
    assert sum(min(rows) < 5 <= max(rows) for rows in seen_by) > 100, "tracks join the runs"
    ahead = bent[9, :3, 3] + 2 * bent[9, :3, 2]
    moved = adjusted.move(ahead[None], [9])[0]  # seen by this picture alone, it stays where the picture shows it
    np.testing.assert_allclose(moved, adjusted.after[9, :3, 3] + 2 * adjusted.after[9, :3, 2], atol=1e-4)
    scenes = [scene_of_run(made) for made in runs]
    take_cameras(scenes, adjusted)
    np.testing.assert_array_equal(scenes[1].camera_to_world, adjusted.after[5:])
    assert all(np.isfinite(scene.points).all() for scene in scenes)


def test_cameras_that_agree_stay(merged: tuple[slam3r.Scene, Path]) -> None:
    scene, _ = merged
    assert scene.made_from["merge"]["adjusted"] is None and "adjusted" not in scene.verdict.reason


def path_error(poses: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square distance of the positions from the true ones, metres, after a similarity."""
    transform, _ = to_truth(poses, torch.from_numpy(truth))
    return float(np.sqrt(np.mean([pose_errors(pose, true, transform)[0] ** 2 for pose, true in zip(poses, truth)])))


def test_files_of_the_merged_run(merged: tuple[slam3r.Scene, Path], first: Run, second: Run) -> None:
    scene, folder = merged
    names = [frame.name for frame in scene.frames]
    assert len(set(names)) == len(names) == 10 and "later/6.png" in names and "6.png" in names
    trajectory = read_tum(folder / "trajectory.txt")
    assert len(trajectory.timestamps) == 10 and (np.diff(trajectory.timestamps) > 0).all()
    cloud = read_ply(folder / "points.ply")
    assert len(cloud.points) == len(first.scene.points) + len(second.scene.points)
    model = pycolmap.Reconstruction(str(folder / "sparse/0"))
    assert {image.name for image in model.images.values()} == set(names) and model.num_cameras() == 2
    summary = json.loads((folder / "summary.json").read_text())
    assert "sparse/0" in summary["written"] and summary["made_from"]["merge"]["frames"] == [5, 5]
    again = read_finished_run(folder)  # so it can be merged, extended, and asked for poses
    assert again.is_refined and [frame.name for frame in again.frames] == names


def test_rooms_that_do_not_overlap_are_refused(
    first: Run, elsewhere: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "merge", first.folder, elsewhere.folder, "-o", tmp_path / "new")
    assert stopped.value.code == 2 and "error: the runs do not" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_bad_input(first: Run, second: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are the same run"):
        slam3r.merge(first.folder, first.folder / ".")
    with pytest.raises(InputError, match="is no folder"):
        slam3r.merge(first.folder, tmp_path / "nowhere")
    with pytest.raises(InputError, match="also what is read from"):
        slam3r.merge(first.folder, second.folder, second.folder)
    with pytest.raises(ConfigurationError, match="are not merged"):
        slam3r.merge(first.folder, second.folder, export={"mesh": True})


def shared(outliers: float, seed: int = 0) -> SharedPoints:
    """Points of two worlds, the second twice as small and moved, some of them wrong matches."""
    rng = np.random.default_rng(seed)
    second = rng.uniform(-1, 1, (400, 3))
    first = 2 * second[:, [1, 2, 0]] + [1.0, 2.0, 3.0]
    wrong = rng.random(len(first)) < outliers
    first[wrong] = rng.uniform(-1, 5, (int(wrong.sum()), 3))
    rows = rng.integers(0, 5, (len(first), 2))
    return SharedPoints(first, second, np.full(len(first), 3.0), rows)


def test_similarity_in_spite_of_wrong_matches() -> None:
    found, agreeing = find_similarity(shared(0.5), MergingSettings())
    assert found.similarity.scale == pytest.approx(2.0) and found.relative < 1e-6
    np.testing.assert_allclose(found.similarity.translation, [1, 2, 3], atol=1e-9)
    assert len(agreeing.first) == found.inliers < found.matched == 400


def test_similarity_is_refused_where_points_disagree() -> None:
    with pytest.raises(InputError, match="do not fit together"):
        find_similarity(shared(1.0), MergingSettings())
    few = shared(0.0).chosen(np.arange(400) < 10)
    with pytest.raises(InputError, match="do not overlap: pictures of both show 10 points"):
        find_similarity(few, MergingSettings())
    point = shared(0.0)
    alone = SharedPoints(point.first, point.second, point.distance, np.zeros_like(point.rows))
    with pytest.raises(InputError, match="hardly overlap"):
        find_similarity(alone, MergingSettings())


def test_names_stay_unless_they_clash() -> None:
    assert prefix_of_new(["a.jpg"], ["b.jpg"], "more") == ""
    assert prefix_of_new(["a.jpg"], ["a.png"], "more") == "more/"  # other programs match names without endings
    assert prefix_of_new(["a.jpg", "more/a.jpg"], ["a.jpg"], "more") == "more_2/"
    assert prefix_of_new(["a.jpg"], None, "more") == "more/"
