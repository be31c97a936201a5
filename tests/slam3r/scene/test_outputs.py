"""The result folder: every file opens, says what is true, and is not written over an earlier run unasked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from common.data.sources.images import read_image
from common.errors import ConfigurationError, InputError
from common.export.colmap import read_colmap
from common.export.nerfstudio import read_nerfstudio
from common.export.ply import read_ply
from common.export.result_folder import OutputExists, write_image
from common.export.trajectory import read_tum
from common.meters import MemoryPeak
from slam3r.reconstruction import ReconstructionSettings
from slam3r.scene import outputs
from slam3r.scene.frame_strip import StripRecorder
from slam3r.scene.outputs import RESULTS, has_pictures, image_name, stage_results, write_results
from slam3r.scene.scene import Scene
from slam3r.scene.scene_data import SceneFrame
from slam3r.scene.settings import ExportSettings
from slam3r.scene.sinks import FrameRecorder, PointStore
from slam3r.scene.summary import find_warnings, summarize
from tests.support.tiny_scene import registered_frames, room


def make_scene(folder: Path, sizes: tuple[tuple[int, int], ...] = ((96, 128),), **changes: Any) -> Scene:
    """The true room, as if it had been reconstructed from pictures of other sizes in a folder."""
    store, recorder, strip = PointStore(2.0), FrameRecorder(), StripRecorder()
    for frame in registered_frames():
        for sink in (store, recorder, strip):
            sink.add(frame)
    intrinsics = room().intrinsics[0].double().numpy()
    frames = [
        SceneFrame(
            **vars(frame),
            number=frame.index * 2,
            original_size=sizes[frame.index % len(sizes)],
            intrinsics=np.diag([sizes[frame.index % len(sizes)][1] / 64] * 2 + [1]) @ intrinsics,
            file=folder / frame.name,
        )
        for frame in recorder.frames
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        Image.new("RGB", frame.original_size[::-1]).save(folder / frame.name)
    scene = Scene(
        points=store.points,
        colors=store.colors,
        confidence=store.confidence,
        frames=frames,
        network_intrinsics=intrinsics,
        network_size=(48, 64),
        stride=2,
        initial_window=(0, 2, 4),
        initial_reference=1,
        settings=ReconstructionSettings(),
        threshold=2.0,
        num_confident=store.num_seen,
        highest_confidence=store.highest_confidence,
        seconds={"encode": 1.5},
        total_seconds=3.0,
        peak_memory=MemoryPeak(1, 0),
        model={"name": "perfect"},
        skipped=[("broken.png", "the file is empty")],
        strip=strip.frames,
    )
    return replace(scene, **changes)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path / "photos")


def test_everything_is_written_and_opens(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    written = scene.save(folder, colmap=True)
    assert {path.relative_to(folder).as_posix() for path in written} == {
        *("points.ply", "trajectory.txt", "transforms.json", "sparse/0", "preview.png", "frames.png", "summary.json")
    }
    cloud = read_ply(folder / "points.ply")
    assert np.array_equal(cloud.points, scene.points) and np.array_equal(cloud.colors, scene.colors)
    assert np.array_equal(cloud.confidence, scene.confidence) and cloud.confidence.min() > 2
    for name in ("preview.png", "frames.png"):
        assert cv2.imread(str(folder / name)).std() > 5


def test_cloud_opens_elsewhere_with_colours(scene: Scene, tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    scene.save(tmp_path / "out", preview=False, strip=False)
    cloud = open3d.io.read_point_cloud(str(tmp_path / "out" / "points.ply"))
    assert len(cloud.points) == len(scene.points)
    assert np.allclose(np.asarray(cloud.colors) * 255, scene.colors)


def test_frames_without_pose_are_left_out(scene: Scene, tmp_path: Path) -> None:
    scene.save(tmp_path, colmap=True, preview=False)
    trajectory = read_tum(tmp_path / "trajectory.txt")
    truth = np.delete(room().camera_to_world.numpy(), 5, axis=0)
    assert np.allclose(trajectory.camera_to_world, truth, atol=1e-5)
    assert np.allclose(trajectory.timestamps, np.delete(np.arange(12) / 30, 5))
    assert len(read_nerfstudio(tmp_path / "transforms.json").image_paths) == 11
    assert len(read_colmap(tmp_path / "sparse" / "0").image_names) == 11
    assert np.isnan(scene.camera_to_world[5]).all() and len(scene.posed) == 11


def test_cameras_are_those_of_the_original_pictures(scene: Scene, tmp_path: Path) -> None:
    scene.save(tmp_path / "out", colmap=True, preview=False)
    cameras = read_nerfstudio(tmp_path / "out" / "transforms.json")
    assert np.allclose(cameras.intrinsics, scene.frames[0].intrinsics)
    assert (cameras.sizes == (96, 128)).all()
    assert cameras.image_paths[0] == "../photos/photo0.png" and cameras.ply_path == "points.ply"
    model = read_colmap(tmp_path / "out" / "sparse" / "0")
    assert model.size == (96, 128) and np.allclose(model.intrinsics, scene.frames[0].intrinsics)
    assert model.image_names[0] == "photo0.png"


def test_mixed_sizes_have_cameras_of_their_own(tmp_path: Path) -> None:
    mixed = make_scene(tmp_path, ((96, 128), (48, 64), (128, 96)))
    mixed.save(tmp_path / "out", colmap=True, preview=False)
    posed = mixed.posed
    cameras = read_nerfstudio(tmp_path / "out" / "transforms.json")
    model = read_colmap(tmp_path / "out" / "sparse" / "0")
    order = [model.image_names.index(frame.name) for frame in posed]  # a COLMAP model is sorted by name
    sizes = [list(frame.original_size) for frame in posed]
    assert cameras.sizes.tolist() == np.asarray(model.size)[order].tolist() == sizes
    expected = np.array([frame.intrinsics for frame in posed])
    assert np.allclose(cameras.intrinsics, expected) and np.allclose(model.intrinsics[order], expected)


def test_cameras_without_pictures_are_left_out_with_a_word(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    scene.frames = [replace(frame, file=None) for frame in scene.frames]
    written = scene.save(tmp_path / "out", colmap=True, preview=False)
    assert not {"transforms.json", "0"} & {path.name for path in written}
    warnings = json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    assert sum("export.images=true writes them" in warning for warning in warnings) == 2


def test_turned_photographs_are_named_as_upright_copies(tmp_path: Path) -> None:
    scene, exif = make_scene(tmp_path / "photos"), Image.Exif()
    exif[274] = 6
    Image.new("RGB", (96, 128)).save(tmp_path / "photos" / "photo3.png", exif=exif)
    with RESULTS.staged(tmp_path / "out") as stage:
        assert not has_pictures(scene, stage / "images")
        for frame in scene.frames:  # what the run writes for such an input
            write_image(stage / "images" / image_name(frame.number), read_image(frame.file))
        stage_results(scene, stage, tmp_path / "out", ExportSettings(colmap=True, preview=False))
    cameras = read_nerfstudio(tmp_path / "out" / "transforms.json")
    assert cameras.image_paths[:2] == ["images/000000.jpg", "images/000002.jpg"]
    for name, size in zip(cameras.image_paths, cameras.sizes.tolist(), strict=True):
        assert list(Image.open(tmp_path / "out" / name).size) == size[::-1]
    assert read_colmap(tmp_path / "out" / "sparse" / "0").image_names[1] == "000002.jpg"


def test_summary_says_what_happened(scene: Scene, tmp_path: Path) -> None:
    scene.save(tmp_path, preview=False)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["frames"] == 12 and summary["stride"] == 2 and summary["initial_window"] == [0, 2, 4]
    assert summary["points"] == len(scene.points) and summary["confidence_threshold"] == 2.0
    assert summary["low_confidence_frames"] == ["photo3.png"] and summary["frames_without_pose"] == ["photo5.png"]
    assert summary["skipped"] == [{"file": "broken.png", "reason": "the file is empty"}]
    assert summary["seconds"] == {"encode": 1.5} and summary["frames_per_second"] == 4.0
    assert len(summary["per_frame"]) == 12 and summary["per_frame"][0]["mean_confidence"] > 2
    assert summary["confidence"]["lowest_frame"] <= summary["confidence"]["mean"]
    assert summary["settings"]["window_radius"] == 5 and summary["model"] == {"name": "perfect"}
    assert {"version", "commit"} == set(summary["revision"])
    assert len(summary["warnings"]) == 3


def test_only_frames_with_a_pose_are_called_interpolated(scene: Scene) -> None:
    """Beside a keyframe without a pose, such as a black picture, there is nothing to interpolate."""
    for index in (5, 6):  # frame 5 has no pose
        scene.frames[index] = replace(scene.frames[index], status="interpolated")
    assert summarize(scene)["interpolated_frames"] == ["photo6.png"]
    warnings = find_warnings(scene)
    assert any(warning.startswith("1 of 12 frames share too few corners") for warning in warnings)
    assert any(warning.startswith("1 of 12 frames have no pose") for warning in warnings)


def test_results_are_not_overwritten_unasked(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    scene.save(tmp_path, colmap=True, preview=False)
    before = (tmp_path / "points.ply").stat().st_mtime_ns
    with pytest.raises(OutputExists, match=r"points\.ply.*overwrite=true"):
        scene.save(tmp_path)
    assert (tmp_path / "points.ply").stat().st_mtime_ns == before
    scene.save(tmp_path, overwrite=True, preview=False, strip=False)
    assert not (tmp_path / "sparse" / "0").exists() and not (tmp_path / "frames.png").exists()  # of the run before
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_folders_of_others_stay(scene: Scene, tmp_path: Path) -> None:
    """``images`` and ``sparse`` are also what other programs call their input."""
    for name in ("images", "sparse/0", "predictions"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "mine").write_text("")
    scene.save(tmp_path, preview=False)
    scene.save(tmp_path, overwrite=True, preview=False)
    with pytest.raises(OutputExists, match="sparse/0 of unknown origin"):
        scene.save(tmp_path, overwrite=True, colmap=True)
    assert all((tmp_path / name / "mine").exists() for name in ("images", "sparse/0", "predictions"))


def test_output_must_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file"):
        RESULTS.check(tmp_path / "out", overwrite=True)


def test_failing_pictures_cost_a_warning_only(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("no room")

    monkeypatch.setattr(outputs, "render_preview", fail)
    scene.save(tmp_path)
    assert (tmp_path / "points.ply").exists() and not (tmp_path / "preview.png").exists()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "preview.png was not drawn: no room" in summary["warnings"]


def test_failing_disk_leaves_the_earlier_result_whole(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    scene.save(tmp_path / "out", preview=False, colmap=True)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    monkeypatch.setattr(outputs, "write_tum", fail)
    with pytest.raises(OSError, match="disk full"):
        scene.save(tmp_path / "out", overwrite=True)
    (tmp_path / "new").mkdir()
    with pytest.raises(OSError, match="disk full"):
        scene.save(tmp_path / "new")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert after == before and not any((tmp_path / "new").iterdir())


def test_a_new_result_takes_the_whole_place_of_the_earlier_one(scene: Scene, tmp_path: Path) -> None:
    scene.save(tmp_path, colmap=True)
    (tmp_path / "notes.txt").write_text("mine")
    scene.save(tmp_path, overwrite=True, preview=False, strip=False)
    names = {path.name for path in tmp_path.iterdir()} - {"sparse", "photos"}
    assert names == {"points.ply", "trajectory.txt", "transforms.json", "summary.json", "notes.txt"}
    assert not (tmp_path / "sparse" / "0").exists()


def test_nothing_confident_and_no_pose(tmp_path: Path) -> None:
    nothing = np.empty((0, 3), np.float32)
    scene = make_scene(tmp_path, points=nothing, colors=nothing.astype(np.uint8), confidence=nothing[:, 0])
    scene.frames = [replace(frame, camera_to_world=None) for frame in scene.frames]
    write_results(scene, tmp_path, ExportSettings(colmap=True))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "no point has a confidence above 2" in summary["warnings"][0]
    assert len(read_tum(tmp_path / "trajectory.txt").timestamps) == 0
    assert read_ply(tmp_path / "points.ply").points.shape == (0, 3)


def test_few_points_come_with_a_hint(scene: Scene) -> None:
    pixels = len(scene.frames) * 48 * 64
    hint = "10.0 % of the points have a confidence above 2; export.confidence=1 keeps more"
    assert hint in find_warnings(replace(scene, num_confident=pixels // 10))
    assert not [
        text for text in find_warnings(replace(scene, num_confident=pixels // 2)) if "export.confidence" in text
    ]


def test_the_warning_says_what_could_not_be_read(scene: Scene) -> None:
    skipped = [("walk.mp4", "3 of 80 frames damaged"), *[(f"{number}.png", "the file is empty") for number in range(3)]]
    expected = "not all of the input could be read: walk.mp4: 3 of 80 frames damaged; 0.png: the file is empty"
    (warning,) = [text for text in find_warnings(replace(scene, skipped=skipped)) if "not all" in text]
    assert warning.startswith(expected) and warning.endswith("; and 1 more")


def test_unknown_options_are_named(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean colmap"):
        scene.save(tmp_path, colmp=True)
