"""`slam3r.reconstruct`: what it takes, what it gives, and what it refuses before work starts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import slam3r
from common.data.sources.frame_source import Frame, FrameSource, SourceError
from common.data.sources.image_files import FolderSource, GlobSource
from common.data.sources.image_list import ListSource
from common.data.sources.memory import ArraySource
from common.data.sources.open import open_source
from common.errors import CheckpointError, ConfigurationError, InputError
from common.export.ply import read_ply
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.models.description import ModelConfidence
from slam3r.pretrained import LoadedSlam3r, find_model, given_model, load_model, place_networks
from slam3r.reconstruction import Networks, SequenceTooShort
from slam3r.scene.recording import open_pointmaps
from tests.support.tiny_scene import SIZES, photos, read_folder, room, save_weights, tiny_models

QUICK = {"keyframe_stride": 2, "initial_window": 3, "pose_method": "pointmaps"}
OPTIONS: dict[str, Any] = {"device": "cpu", "dtype": "float32", "size": (48, 64), "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("scene") / "photos")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(*tiny_models())


def run(source: Any, networks: Any, **changes: Any) -> slam3r.Scene:
    arguments: dict[str, Any] = {"settings": QUICK, "export": {"confidence": 1.0}, **OPTIONS, **changes}
    return slam3r.reconstruct(source, networks, **arguments)


def test_three_lines(folder: Path, weights: Path, tmp_path: Path) -> None:
    scene = slam3r.reconstruct(folder, model=weights, progress=False, device="cpu")
    scene.save(tmp_path / "out")
    assert len(scene.frames) == 12 and scene.network_size == (224, 224)
    assert (tmp_path / "out" / "points.ply").exists() and (tmp_path / "out" / "summary.json").exists()


def test_scene_has_what_the_sequence_had(folder: Path, networks: Networks) -> None:
    scene = run(folder, networks)
    assert [frame.name for frame in scene.frames] == [f"photo{i}.png" for i in range(12)]
    assert scene.frames[3].file == folder / "photo3.png" and scene.frames[3].original_size == (48, 64)
    assert scene.stride == 2 and scene.initial_window == (0, 2, 4)
    assert len(scene.points) == len(scene.colors) == len(scene.confidence) == scene.num_confident > 10_000
    assert scene.confidence.min() > 1.0
    assert scene.camera_to_world.shape == (12, 4, 4) and scene.intrinsics.shape == (12, 3, 3)
    assert scene.seconds["registration"] > 0 and scene.frames_per_second > 0 and scene.peak_memory.process > 0
    assert len(scene.strip) == 6


def test_sources_of_all_kinds_give_the_same(folder: Path, networks: Networks, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n".join(str(folder / f"photo{i}.png") for i in range(12)))
    arrays = read_folder(folder)
    sources = [
        *(str(folder), str(folder / "photo*.png"), tmp_path / "list.txt", FolderSource(folder)),
        *([folder / f"photo{i}.png" for i in range(12)], arrays, np.stack(arrays)),
        *(torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2), room().images),
    ]
    scenes = [run(source, networks) for source in sources]
    for scene in scenes[1:]:
        assert np.array_equal(scene.points, scenes[0].points) and np.array_equal(scene.colors, scenes[0].colors)


def test_batches_change_nothing_but_rounding(folder: Path, networks: Networks) -> None:
    first, second = run(folder, networks), run(folder, networks, push_batch=1, read_ahead=1)
    assert np.allclose(first.points, second.points, atol=1e-4)


def test_intrinsics_are_those_of_the_original(tmp_path: Path, networks: Networks) -> None:
    sizes = ((96, 128), (48, 64), (100, 90))
    scene = run(photos(tmp_path / "photos", sizes=sizes), networks)
    assert [frame.original_size for frame in scene.frames[:3]] == list(sizes)
    focal = scene.network_intrinsics[0, 0]
    assert np.isclose(scene.frames[0].intrinsics[0, 0], 2 * focal)
    assert np.allclose(scene.frames[1].intrinsics, scene.network_intrinsics)
    for frame in scene.frames:  # the crop is central, so the principal point stays in the middle
        height, width = frame.original_size
        assert np.allclose(frame.intrinsics[:2, 2], ((width - 1) / 2, (height - 1) / 2), atol=1.5)


def test_points_are_bounded(folder: Path, networks: Networks) -> None:
    scene = run(folder, networks, export={"confidence": 1.0, "max_points": 1000})
    assert len(scene.points) == 1000 < scene.num_confident


def test_model_sets_thresholds_unless_the_user_does(folder: Path) -> None:
    def fresh() -> LoadedSlam3r:
        return given_model(*tiny_models(), ModelConfidence(local=1.1, registered=1.2, initial=1.3, weak=1.4))

    scene = run(folder, fresh(), export=None)
    assert scene.threshold == 1.2
    chosen = scene.settings
    assert (chosen.local_threshold, chosen.initial_confidence, chosen.weak_confidence) == (1.1, 1.3, 1.4)
    scene = run(folder, fresh(), settings={**QUICK, "weak_confidence": 7.0}, export={"confidence": 1.9})
    assert scene.threshold == 1.9 and scene.settings.weak_confidence == 7.0 and scene.settings.local_threshold == 1.1
    assert all(frame.status == "low_confidence" for frame in scene.frames)


def test_named_models_have_the_published_numbers() -> None:
    large = find_model("slam3r_large")
    assert large.weights.image_to_points == "siyan824/slam3r_i2p" and "NC" in large.license
    assert large.confidence == ModelConfidence()
    assert find_model("slam3r_tiny").sizes["encoder_width"] < large.sizes["encoder_width"] == 1024


def test_output_and_predictions(folder: Path, networks: Networks, tmp_path: Path) -> None:
    scene = run(folder, networks, output=tmp_path / "out", save_predictions=True, export={"images": True})
    mapped = np.load(tmp_path / "out" / "predictions" / "registered_pcds.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap) and mapped.shape == (12, 48, 64, 3)
    assert len(list((tmp_path / "out" / "images").iterdir())) == 12
    metadata = (tmp_path / "out" / "predictions" / "metadata.json").read_text()
    assert '"kf_stride": 2' in metadata and '"scene_id": "out"' in metadata
    # No point reaches the model's threshold: the better half is kept all the same.
    assert scene.threshold < 12.0 and len(read_ply(tmp_path / "out" / "points.ply").points) == scene.num_confident
    assert scene.num_confident / recorded_points(tmp_path / "out") == pytest.approx(0.5, abs=0.01)
    with pytest.raises(InputError, match="overwrite=true"):
        run(folder, networks, output=tmp_path / "out")
    run(folder, networks, output=tmp_path / "out", overwrite=True)
    assert len(read_ply(tmp_path / "out" / "points.ply").points) > 0
    assert not (tmp_path / "out" / "predictions").exists()  # they belonged to the run before


class FullDisk:
    """A sink that takes a few frames."""

    def __init__(self) -> None:
        self.taken = 0

    def add(self, frame: slam3r.reconstruction.RegisteredFrame) -> None:
        self.taken += 1
        if self.taken > 6:
            raise OSError("no space left")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("moment", ["half way", "at the end", "while taking its place"])
def test_a_result_appears_whole_or_not_at_all(
    folder: Path, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    output = tmp_path / "out"
    files = {"images": True, "depths": True, "preview": False, "strip": False}
    quick = {"refinement": {"mode": "off", "check_frames": 0}}
    everything = {"output": output, "save_predictions": True, "export": files, **quick}
    run(folder, networks, **everything)
    before = {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}

    def fail(*arguments: object) -> None:
        raise OSError("no space left")

    if moment == "at the end":
        monkeypatch.setattr("slam3r.scene.outputs.write_ply", fail)
    elif moment == "while taking its place":
        replace, faults = os.replace, [OSError("no space left")]

        def fail_once(old: Path, new: Path) -> None:
            if Path(new) == output / "summary.json" and faults:
                raise faults.pop()
            replace(old, new)

        monkeypatch.setattr("os.replace", fail_once)
    sinks = [FullDisk()] if moment == "half way" else []
    with pytest.raises(OSError, match="no space left"):
        run(folder, networks, overwrite=True, sinks=sinks, **everything)
    monkeypatch.undo()
    assert {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def recorded_points(output: Path) -> int:
    return int(open_pointmaps(output / "predictions").valid.sum())


class Interrupted(FrameSource):
    """Ctrl-C after so many frames."""

    def __init__(self, images: list[np.ndarray], after: int) -> None:
        super().__init__()
        self.images, self.after = images, after

    def __iter__(self) -> Iterator[Frame]:
        for frame in ArraySource(self.images):
            if frame.index == self.after:
                raise KeyboardInterrupt
            yield frame


def test_interrupted_run_keeps_what_it_has(
    folder: Path, networks: Networks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = read_folder(folder)
    settings = {**QUICK, "look_ahead": 0}
    with caplog.at_level(logging.WARNING):
        source = Interrupted(images, 10)
        scene = run(source, networks, settings=settings, push_batch=2, output=tmp_path / "out", save_predictions=True)
    assert scene.interrupted and 5 <= len(scene.frames) <= 10 and "interrupted" in caplog.text
    assert len(np.load(tmp_path / "out" / "predictions" / "local_pcds.npy")) == len(scene.frames)
    with pytest.raises(KeyboardInterrupt):  # nothing was registered
        run(Interrupted(images, 2), networks, output=tmp_path / "nothing", save_predictions=True)
    assert not (tmp_path / "nothing").exists()


def test_long_wait_for_the_stride_stays_bounded(networks: Networks) -> None:
    """After a stride search all frames are waiting; their pointmaps must not be made all at once."""
    reconstructor = slam3r.reconstruction.Reconstructor(
        networks, slam3r.ReconstructionSettings(stride_max=1, window_batch=1, window_radius=1, buffer_size=3)
    )
    reconstructor.push(room().images.repeat(4, 1, 1, 1))
    held = [len(reconstructor._store.local) for _ in reconstructor.drain()]
    assert len(held) == 48 and max(held) < 20


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"settings": {"keyframe_strid": 3}}, ConfigurationError, "did you mean keyframe_stride"),
        ({"settings": {"keyframe_stride": 0}}, ConfigurationError, "at least 1"),
        ({"settings": {"keyframe_stride": 12}}, SequenceTooShort, "12 frames do not fill .* at least 13 frames"),
        ({"export": {"max_points": -1}}, ConfigurationError, "max_points: expected greater than or equal to 0"),
        ({"size": (50, 64)}, ConfigurationError, "multiples of 16"),
        ({"push_batch": 0}, ConfigurationError, "push_batch: expected greater than or equal to 1"),
        ({"colour": True}, ConfigurationError, "colour: unknown key"),
        ({"output": "PHOTOS"}, InputError, "is also what is read from"),
        ({"save_predictions": True}, ConfigurationError, "need an output folder"),
    ],
)
def test_faulty_settings_are_named(folder: Path, networks: Networks, changes, error, message) -> None:
    if "output" in changes:
        changes = {"output": folder}
    with pytest.raises(error, match=message):
        run(folder, networks, **changes)


def test_unknown_device_is_named(folder: Path, weights: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown device 'tpu'"):
        run(folder, weights, device="tpu")


def test_video_shorter_than_the_stride(folder: Path, networks: Networks) -> None:
    """Where the number of frames is not certain, the end of the source tells."""
    source = Interrupted(read_folder(folder), 99)
    with pytest.raises(SequenceTooShort, match="12 frames do not fill"):
        run(source, networks, settings={"keyframe_stride": 12})


def test_models_that_are_not_there(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="known are slam3r_large, slam3r_tiny"):
        load_model("slam3r_huge")
    with pytest.raises(CheckpointError, match="neither a file"):
        load_model((weights / "image_to_points", tmp_path / "no" / "such"))
    missing = {"name": "mine", "weights": {"image_to_points": "a/b/c", "local_to_world": "a/b/d"}}
    with pytest.raises(CheckpointError, match=r"mine.*\(ask me\)"):
        load_model({**missing, "how_to_get": "ask me"})


def test_weights_of_another_model(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="ImageToPoints, not a LocalToWorld"):
        load_model((weights / "image_to_points", weights / "image_to_points"))
    paths = {name: str(weights / name) for name in ("image_to_points", "local_to_world")}
    with pytest.raises(CheckpointError, match="does not hold the weights of mine: encoder_width 32, not 256"):
        load_model({"name": "mine", "weights": paths, "sizes": {"encoder_width": 256}})
    LocalToWorld(**{**SIZES, "encoder_width": 64}).save_pretrained(tmp_path)
    loaded = load_model((weights / "image_to_points", tmp_path))
    with pytest.raises(CheckpointError, match="do not belong together"):
        place_networks(loaded, torch.device("cpu"), torch.float32)
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes((weights / "image_to_points" / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="does not fit"):
        load_model((weights / "image_to_points", bare))
    bare.write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_model((weights / "image_to_points", bare))


def test_revision_of_weights_is_recorded(weights: Path) -> None:
    loaded = load_model((weights / "image_to_points", weights / "local_to_world"))
    assert loaded.provenance["image_to_points"]["revision"].startswith("sha256:")
    assert isinstance(loaded.network.image_to_points, ImageToPoints)


def test_open_source_chooses_by_what_is_there(folder: Path, tmp_path: Path) -> None:
    assert isinstance(open_source(folder, every=2), FolderSource)
    assert isinstance(open_source(f"{folder}/*.png"), GlobSource)
    (tmp_path / "list.txt").write_text(f"{folder}/photo0.png\n{folder}/photo1.png\n")
    assert isinstance(open_source(tmp_path / "list.txt"), ListSource)
    for what, message in (
        (tmp_path / "nothing", "does not exist"),
        (folder / "photo0.png", "a single image"),
        (tmp_path, "only one image|no images"),
        (np.zeros((4, 8, 8), np.uint8), "images in memory are"),
        (np.zeros((1, 8, 8, 3), np.uint8), "at least 2"),
        (3, "cannot read frames from int"),
    ):
        with pytest.raises(SourceError, match=message):
            open_source(what)


def test_package_face() -> None:
    names = {"Reconstruction", "ReconstructionSettings", "Scene", "load_model", "reconstruct"}
    assert set(slam3r.__all__) == names | {"localize", "extend", "merge"}
    assert slam3r.Scene is slam3r.Reconstruction  # its earlier name
    assert all(callable(getattr(slam3r, name)) for name in slam3r.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        slam3r.nothing  # noqa: B018


def test_known_cameras_masks_and_files(folder: Path, networks: Networks, tmp_path: Path) -> None:
    """Distorted pictures come out straight, in the world of their cameras, with holes where masks are black."""
    lens = {"fl_x": 60.0, "fl_y": 60.0, "cx": 32.0, "cy": 24.0, "w": 64, "h": 48, "k1": 0.1}
    frames = [
        {"file_path": f"photos/photo{i}.png", "transform_matrix": (pose @ np.diag([1, -1, -1, 1])).tolist()}
        for i, pose in enumerate(room().camera_to_world.double().numpy())
    ]
    (tmp_path / "cameras.json").write_text(json.dumps({**lens, "frames": frames}))
    (tmp_path / "masks").mkdir()
    black_left = np.zeros((48, 64), np.uint8)
    black_left[:, 20:] = 255
    Image.fromarray(black_left).save(tmp_path / "masks" / "photo3.png")
    known = {"cameras": tmp_path / "cameras.json", "masks": tmp_path / "masks"}
    scene = run(folder, networks, output=tmp_path / "out", refinement="off", save_predictions=True, **known)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["unit"]["source"] == "cameras" and summary["unit"]["factor"] == pytest.approx(scene.unit.factor)
    assert (tmp_path / "out" / "images" / "000003.jpg").is_file()
    np.testing.assert_allclose(scene.intrinsics[0, :2, 2], [31.5, 23.5])
    recorded = open_pointmaps(tmp_path / "out" / "predictions")
    assert not recorded.valid[3, :, :15].any() and recorded.valid[3, :, 25:].any() and recorded.valid[2].any()
    kept = recorded.points[recorded.valid & (recorded.confidence > 1)]
    np.testing.assert_allclose(kept.mean(axis=0), scene.points.mean(axis=0), rtol=1e-3, atol=1e-3)
    (tmp_path / "depths").mkdir()
    np.save(tmp_path / "depths" / "other.npy", np.ones((48, 64), np.float32))
    with pytest.raises(InputError, match="no file for any picture"):
        run(folder, networks, depths=tmp_path / "depths")
