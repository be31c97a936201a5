"""CO3Dv2: annotated object videos, written as PyTorch3D looks at a known room, become frames of that room."""

from __future__ import annotations

import gzip
import json
import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from common.command.launch import launch
from common.errors import InputError
from data_process import co3d
from data_process.errors import BadFrameError
from data_process.formats.co3d_annotations import CATEGORIES, TRAINING_CATEGORIES, opencv_camera, select_sequences
from data_process.writing.manifest import DatasetInfo
from data_process.writing.runner import process
from tests.support import box_room
from tests.support.raw_trees import jpeg, png, read_plane, write

SIZE = (300, 200)
DEPTH_TOLERANCE = 0.03
"""Metres; half a raw pixel on a slanted wall, as depth takes the nearest pixel."""
FORMATS = ("ndc_isotropic", "ndc_norm_image_bounds")


def viewpoint(number: int, kind: str = "ndc_isotropic") -> dict[str, Any]:
    """A camera in the room, in PyTorch3D's terms: x_camera = x_world R + T, x left, y up."""
    rotation = Rotation.from_euler("xyz", [0.2, 0.5 * number, 3.0]).as_matrix()
    center = np.array([0.3 * np.sin(number), -0.2, 0.2])
    return {
        "R": rotation.tolist(),
        "T": (-center @ rotation).tolist(),
        "focal_length": [1.6, 1.6] if kind == "ndc_isotropic" else [1.7, 1.2],
        "principal_point": [0.04, -0.06],
        "intrinsics_format": kind,
    }


def render(camera: dict[str, Any], size: tuple[int, int] = SIZE) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Image and depth along z of the room by PyTorch3D's definitions: normalized coordinates grow to the left and
    upwards from the middle of the image, and pixel centres are at half-integers."""
    height, width = size
    y, x = np.indices(size) + 0.5
    unit_x, unit_y = (min(size) / 2,) * 2 if camera["intrinsics_format"] == "ndc_isotropic" else (width / 2, height / 2)
    ndc = np.stack([(width / 2 - x) / unit_x, (height / 2 - y) / unit_y], axis=-1)
    tangent = (ndc - camera["principal_point"]) / np.array(camera["focal_length"])
    rotation = np.array(camera["R"])
    directions = np.concatenate([tangent, np.ones((*size, 1))], axis=-1) @ rotation.T
    center = -np.array(camera["T"]) @ rotation.T
    depth = box_room.distance(center, directions)
    return np.rint(box_room.color_at(center + depth[..., None] * directions)).astype(np.uint8), depth


def write_frame(root: Path, sequence: str, number: int, kind: str, factor: float) -> dict[str, Any]:
    """Files and annotation of a frame. Its frame_number is not the number of its files, as in the data set."""
    camera = viewpoint(number, kind)
    image, depth = render(camera)
    name, folder = f"frame{number:06d}", f"chair/{sequence}"
    mask = np.zeros(SIZE, np.uint8)
    mask[40:240, 20:160] = 200
    write(root / folder / "images" / f"{name}.jpg", jpeg(image))
    write(root / folder / "masks" / f"{name}.png", png(mask))
    write(root / folder / "depth_masks" / f"{name}.png", png((mask > 0).astype(np.uint8) * 255))
    stored = (depth / factor).astype(np.float16).view(np.uint16)
    write(root / folder / "depths" / f"{name}.jpg.geometric.png", png(stored))
    return {
        "sequence_name": sequence,
        "frame_number": 1000 - number,
        "frame_timestamp": 0.1 * number,
        "image": {"path": f"{folder}/images/{name}.jpg", "size": list(SIZE)},
        "depth": {
            "path": f"{folder}/depths/{name}.jpg.geometric.png",
            "scale_adjustment": factor,
            "mask_path": f"{folder}/depth_masks/{name}.png",
        },
        "mask": {"path": f"{folder}/masks/{name}.png", "mass": 7000.0},
        "viewpoint": camera,
    }


def write_raw(
    root: Path, sequences: dict[str, tuple[int, ...]], kind: str = FORMATS[0], factor: float = 1.0
) -> list[dict[str, Any]]:
    """A category with sequences of numbered frames; the last frame of each is in the test list."""
    frames = [write_frame(root, name, k, kind, factor) for name, numbers in sequences.items() for k in numbers]
    write_annotations(root / "chair", "frame", frames)
    qualities = [{"sequence_name": name, "category": "chair", "viewpoint_quality_score": 0.9} for name in sequences]
    write_annotations(root / "chair", "sequence", [*qualities, {"sequence_name": "x", "viewpoint_quality_score": None}])
    listed = [(frame["sequence_name"], frame["frame_number"], frame["image"]["path"]) for frame in frames]
    lists: dict[str, list] = {"train": [], "val": [], "test": []}
    for name, numbers in sequences.items():
        own = [entry for entry in listed if entry[0] == name]
        lists["train"] += own[: max(1, len(numbers) - 1)]
        lists["test"] += own[max(1, len(numbers) - 1) :]
    write(root / "chair" / "set_lists" / "set_lists_fewview_train.json", json.dumps(lists))
    return frames


def write_annotations(category: Path, kind: str, entries: list) -> None:
    write(category / f"{kind}_annotations.jgz", gzip.compress(json.dumps(entries).encode()))


def run(root: Path, output: Path, **changes):
    settings = co3d.Co3dSettings(raw=str(root), output=str(output), workers=0, **{"image_size": 288, **changes})
    convert = partial(co3d.convert, settings=settings)
    dataset = DatasetInfo("co3d", "none", settings.own("categories"))
    return process(dataset, co3d.find_scenes(settings), convert, settings)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_frames_show_the_room(tmp_path: Path, kind: str, factor: float) -> None:
    write_raw(tmp_path / "raw", {"110_13051_23361": (1, 4, 9)}, kind, factor)
    assert run(tmp_path / "raw", tmp_path / "out").frames == 3
    folder = tmp_path / "out" / "chair_110_13051_23361"
    facts = json.loads((folder / "scene.json").read_text())
    assert box_room.check_scene(folder, facts["depth_scale"], DEPTH_TOLERANCE) == 1.0
    assert facts["attributes"]["category"] == "chair" and facts["attributes"]["split"] == "train"
    assert facts["attributes"]["splits"] == {"train": [1, 4], "test": [9]}
    with np.load(folder / "cameras.npz") as cameras:  # cropped about the principal point
        middle = (np.array(facts["image_size"])[::-1] - 1) / 2
        np.testing.assert_allclose(cameras["intrinsics"][0, :2, 2], middle, atol=1)
    assert min(facts["image_size"]) >= 216 and max(facts["image_size"]) >= 288
    mask = read_plane(folder / "mask" / "000001.png")
    assert set(np.unique(mask)) == {0, 255} and mask[140, 80] == 255 and mask[2, 2] == 0


def test_sixteen_bits_are_used_well_and_outliers_do_not_spoil_them(tmp_path: Path) -> None:
    """One stray depth of 60,000 would leave the object one unit in 16 bits."""
    write_raw(tmp_path / "raw", {"s": (1, 2)})
    path = tmp_path / "raw" / "chair" / "s" / "depths" / "frame000001.jpg.geometric.png"
    stored = read_plane(path)
    stored[150, 100] = np.array(60_000, np.float16).view(np.uint16)
    stored[151, 100] = np.array(np.nan, np.float16).view(np.uint16)
    write(path, png(stored))
    run(tmp_path / "raw", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "chair_s" / "scene.json").read_text())
    assert facts["depth_scale"] == pytest.approx(65535 / 20 / facts["attributes"]["median_depth"])
    assert box_room.check_scene(tmp_path / "out" / "chair_s", facts["depth_scale"], DEPTH_TOLERANCE) > 0.999
    assert facts["attributes"]["unit"] == "arbitrary"


def test_depth_masks_are_a_choice(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", {"s": (1, 2)})
    run(tmp_path / "raw", tmp_path / "out", depth_masks=True)
    depth, mask = (read_plane(tmp_path / "out" / "chair_s" / kind / "000001.png") for kind in ("depth", "mask"))
    assert ((depth > 0) == (mask > 0)).all()


def test_bad_frames_are_dropped_with_a_reason(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    frames = write_raw(root, {"s": (1, 2, 3, 4, 5, 6, 7)})
    folder = root / "chair" / "s"
    write(folder / "images" / "frame000002.jpg", (folder / "images" / "frame000002.jpg").read_bytes()[:3000])
    (folder / "depths" / "frame000003.jpg.geometric.png").unlink()
    (folder / "masks" / "frame000004.png").write_bytes(b"")
    frames[4]["viewpoint"]["T"] = [float("nan"), 0, 0]
    frames[5]["image"]["size"] = [SIZE[0], SIZE[1] + 2]
    write_annotations(root / "chair", "frame", frames)
    summary = run(root, tmp_path / "out")
    assert summary.frames == 2
    assert summary.dropped == {
        "damaged color image": 1,
        "no depth image": 1,
        "damaged mask": 1,
        "pose is not finite": 1,
        "sizes differ: color (300, 200), mask (300, 200), depth (300, 200), annotated (300, 202)": 1,
    }


def test_selected_sequences_are_listed_as_by_dust3r(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", {"a": (1, 2), "b": (5, 6)})
    (tmp_path / "raw" / "chair" / "b" / "images" / "frame000005.jpg").write_bytes(b"")
    run(tmp_path / "raw", tmp_path / "out")
    co3d.write_selected_sequences(tmp_path / "out")
    lists = [json.loads((tmp_path / "out" / f"selected_seqs_{split}.json").read_text()) for split in ("train", "test")]
    assert lists == [{"chair": {"a": [1], "b": []}}, {"chair": {"a": [2], "b": [6]}}]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raw(tmp_path / "raw", {"a": (1, 2)})
    keys = [f"output={tmp_path / 'out'}", "workers=0", "image_size=288"]

    def exit_status(*more: str) -> int | str | None:
        monkeypatch.setattr(sys, "argv", ["co3d.py", *keys, *more])
        with pytest.raises(SystemExit) as stop:
            launch(co3d.VERB)
        return stop.value.code

    assert exit_status(f"raw={tmp_path / 'raw'}") == 0
    assert json.loads((tmp_path / "out" / "selected_seqs_test.json").read_text()) == {"chair": {"a": [2]}}
    assert exit_status("verify=true") == 0
    (tmp_path / "out" / "chair_a" / "mask" / "000001.png").unlink()
    assert exit_status("verify=true") == 1
    assert exit_status(f"raw={tmp_path / 'raw'}", "seed=1") == 2  # scenes of other settings are there
    assert exit_status(f"raw={tmp_path / 'raw'}", "categories=[cup]") == 2


def test_a_run_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    frames = write_raw(tmp_path / "raw", {"a": (1, 2), "b": (5,)})
    image = tmp_path / "raw" / frames[2]["image"]["path"]
    content = image.read_bytes()
    image.write_bytes(b"")
    assert list(run(tmp_path / "raw", tmp_path / "out").failed) == ["chair_b"]
    image.write_bytes(content)
    again = run(tmp_path / "raw", tmp_path / "out")
    assert again.present == ["chair_a"] and again.written == ["chair_b"]


def test_sequences_are_chosen_as_published(tmp_path: Path) -> None:
    """Sorted names of good quality; where there are more than wanted, Python's sample with the seed of the category."""
    names = [f"{k}_{k}_{k}" for k in range(12)]
    write_raw(tmp_path, {names[0]: (1, 2)})
    entries = [
        {
            "sequence_name": name,
            "frame_number": 5,
            "image": {"path": f"chair/{name}/images/frame000007.jpg", "size": [10, 12]},
            "depth": {"path": "", "scale_adjustment": 1.0, "mask_path": None},
            "mask": {"path": ""},
            "viewpoint": {},
        }
        for name in names
    ]
    write_annotations(tmp_path / "chair", "frame", entries)
    scores = [
        {"sequence_name": name, "viewpoint_quality_score": 0.4 if k == 3 else 0.6} for k, name in enumerate(names)
    ]
    write_annotations(tmp_path / "chair", "sequence", scores)
    lists = {"train": [(name, 5, f"chair/{name}/images/frame000007.jpg") for name in names], "test": []}
    write(tmp_path / "chair" / "set_lists" / "set_lists_fewview_train.json", json.dumps(lists))
    random.seed(42 + CATEGORIES.index("chair"))
    expected = random.sample(sorted(set(names) - {names[3]}), 5)
    selection = select_sequences(tmp_path / "chair", max_sequences=5, min_quality=0.5, seed=42)
    assert sorted(selection.frames) == sorted(expected)
    assert selection.numbers == {"train": {name: [7] for name in names if name in expected}, "test": {}}
    everything = select_sequences(tmp_path / "chair", max_sequences=50, min_quality=0.5, seed=42)
    assert len(everything.frames) == 11


def test_categories() -> None:
    assert len(CATEGORIES) == 51 and len(TRAINING_CATEGORIES) == 41
    assert list(CATEGORIES) == sorted(CATEGORIES)  # DUSt3R's order, which seeds the choice
    with pytest.raises(ValueError, match="chairs unknown"):
        co3d.Co3dSettings(output="", categories=["chairs"])


def test_faults_are_named(tmp_path: Path) -> None:
    (tmp_path / "chair").mkdir()
    settings = co3d.Co3dSettings(raw=str(tmp_path), output=str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"set_lists: no set_lists_fewview_train.json"):
        co3d.find_scenes(settings)
    write_raw(tmp_path, {"a": (1, 2)})
    path = tmp_path / "chair" / "frame_annotations.jgz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"frame_annotations.jgz: damaged"):
        co3d.find_scenes(settings)
    with pytest.raises(BadFrameError, match="intrinsics_format"):
        opencv_camera({**viewpoint(0), "intrinsics_format": "pixels"}, SIZE)
