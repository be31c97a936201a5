"""ScanNet++: distorted images of a known room and its mesh become undistorted frames with depth and classes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from common.geometry.lens import Lens
from data_process import scannetpp
from data_process.formats.lens_rectification import opencv_camera
from data_process.formats.scannetpp_labels import class_of
from data_process.writing.manifest import DatasetInfo
from data_process.writing.runner import process
from tests.support import box_room
from tests.support.colmap_files import write_model
from tests.support.raw_trees import jpeg, png, read_color, read_plane, write

DSLR = Lens("OPENCV_FISHEYE", (160, 240), (95.0, 96.0, 121.0, 79.0, 0.03, -0.02, 0.004, -0.001))
PHONE = Lens("OPENCV", (192, 256), (200.0, 201.0, 128.7, 95.2, 0.04, -0.09, 0.002, -0.001))
SCENE = "0a7cc12c0e"
LABELS = ["floor", "ceiling", "wall", "office chair", "bookshelf", "remove"]  # of the six sides of the room


def camera_rays(camera: Lens) -> NDArray[np.float64]:
    """(H, W, 3) viewing rays of the distorted pixels."""
    intrinsics, distortion, fisheye = opencv_camera(camera)
    y, x = np.indices(camera.size, np.float64)
    pixels = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    undistort = cv2.fisheye.undistortPoints if fisheye else cv2.undistortPoints
    points = undistort(pixels, intrinsics, distortion).reshape(*camera.size, 2)
    return np.concatenate([points, np.ones((*camera.size, 1))], axis=-1)


def write_dslr(folder: Path, numbers: tuple[int, ...] = (1, 2, 3), binary: bool = False) -> None:
    names = {number: f"DSC{number:05d}" for number in numbers}
    poses = {f"{name}.JPG": box_room.pose(number) for number, name in names.items()}
    write_model(folder / "colmap", DSLR.model, DSLR.size, list(DSLR.parameters), poses, binary)
    rays = camera_rays(DSLR)
    for number, name in names.items():
        write(folder / "resized_images" / f"{name}.JPG", jpeg(box_room.look(box_room.pose(number), rays)[0]))
        write(folder / "resized_anon_masks" / f"{name}.png", png(np.full(DSLR.size, 255, np.uint8)))
    lists = {"train": [f"DSC{number:05d}.JPG" for number in numbers[:-1]], "test": [f"{names[numbers[-1]]}.JPG"]}
    write(folder / "train_test_lists.json", json.dumps({**lists, "has_masks": True}))


def write_iphone(folder: Path, numbers: tuple[int, ...] = (0, 10)) -> None:
    poses = {f"video/frame_{number:06d}.jpg": box_room.pose(number // 10) for number in numbers}
    write_model(folder / "colmap", PHONE.model, PHONE.size, list(PHONE.parameters), poses)
    rays = camera_rays(PHONE)
    for number in numbers:
        image = box_room.look(box_room.pose(number // 10), rays)[0]
        write(folder / "rgb" / f"frame_{number:06d}.jpg", jpeg(image))
        write(folder / "rgb_masks" / f"frame_{number:06d}.png", png(np.full(PHONE.size, 255, np.uint8)))
    times = {f"frame_{number:06d}": {"timestamp": 100 + number / 60, "pose": []} for number in numbers}
    write(folder / "pose_intrinsic_imu.json", json.dumps(times))


def write_video(path: Path, images: Sequence[NDArray[np.uint8]]) -> None:
    """A video of RGB images (H, W, 3)."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 60, images[0].shape[1::-1])
    assert video.isOpened()
    for image in images:
        video.write(np.ascontiguousarray(image[..., ::-1]))
    video.release()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The tree of a download with one scene."""
    root = tmp_path / "raw"
    write(root / "splits" / "nvs_sem_train.txt", f"{SCENE}\nnot_downloaded\n")
    write(root / "splits" / "nvs_sem_val.txt", "other\n")
    box_room.write_mesh(root / "data" / SCENE / "scans" / "mesh_aligned_0.05.ply")
    return root


def run(raw: Path, output: str = "out", **changes):
    settings = scannetpp.ScannetppSettings(
        raw=str(raw), output=str(raw.parent / output), workers=0, **{"long_side": 128, **changes}
    )
    convert = partial(scannetpp.convert, settings=settings)
    dataset = DatasetInfo("scannetpp", "none", settings.own("sensors", "splits"))
    return process(dataset, scannetpp.find_scenes(settings), convert, settings)


def facts(raw: Path, scene: str) -> dict:
    return json.loads((raw.parent / "out" / scene / "scene.json").read_text())


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_dslr_frames_show_the_room(raw: Path, binary: bool) -> None:
    write_dslr(raw / "data" / SCENE / "dslr", binary=binary)
    summary = run(raw)
    assert summary.written == [f"{SCENE}_dslr"] and summary.frames == 2
    assert summary.dropped == {"test image": 1}
    assert box_room.check_scene(raw.parent / "out" / f"{SCENE}_dslr") > 0.99
    found = facts(raw, f"{SCENE}_dslr")
    assert found["image_size"] == [96, 144]  # covers 96 x 128 in the shape of the image, 3:2
    assert found["attributes"] == {"sensor": "dslr", "number_step": 1, "split": "train", "scene": SCENE}


def test_iphone_frames_show_the_room(raw: Path) -> None:
    write_iphone(raw / "data" / SCENE / "iphone")
    assert run(raw).frames == 2
    folder = raw.parent / "out" / f"{SCENE}_iphone"
    assert box_room.check_scene(folder) > 0.95
    assert facts(raw, folder.name)["attributes"]["number_step"] == 10
    with np.load(folder / "cameras.npz") as cameras:
        assert cameras["number"].tolist() == [0, 10]
        np.testing.assert_allclose(cameras["timestamp"], [100, 100 + 1 / 6])


def test_iphone_frames_may_come_as_videos(raw: Path) -> None:
    """rgb.mkv and rgb_mask.mkv hold every frame; COLMAP registered every tenth of them."""
    folder = raw / "data" / SCENE / "iphone"
    write_iphone(folder)
    run(raw)
    for name, stills in (("rgb.mkv", "rgb"), ("rgb_mask.mkv", "rgb_masks")):
        first, last = (read_color(path) for path in sorted((folder / stills).iterdir()))
        write_video(folder / name, [first] * 10 + [last])
        shutil.rmtree(folder / stills)
    assert run(raw, output="from_video").frames == 2
    out, other = (raw.parent / name / f"{SCENE}_iphone" for name in ("out", "from_video"))
    for number in (0, 10):
        depth = f"depth/{number:06d}.png"
        assert (read_plane(out / depth) == read_plane(other / depth)).all()
        images = [read_color(path / f"color/{number:06d}.jpg").astype(float) for path in (out, other)]
        assert np.abs(images[0] - images[1]).mean() < 2


def test_a_video_that_ends_early_costs_the_frames_after(raw: Path) -> None:
    folder = raw / "data" / SCENE / "iphone"
    write_iphone(folder)
    write_video(folder / "rgb.mkv", [read_color(folder / "rgb" / "frame_000000.jpg")] * 5)
    shutil.rmtree(folder / "rgb")
    summary = run(raw)
    assert summary.frames == 1 and summary.dropped == {"the video ends before the frame": 1}


def test_anonymized_pixels_have_no_depth(raw: Path) -> None:
    folder = raw / "data" / SCENE / "dslr"
    write_dslr(folder)
    mask = np.full(DSLR.size, 255, np.uint8)
    mask[:, : DSLR.size[1] // 2] = 0
    write(folder / "resized_anon_masks" / "DSC00001.png", png(mask))
    run(raw)
    depth = read_plane(raw.parent / "out" / f"{SCENE}_dslr" / "depth" / "000001.png")
    assert (depth[:, :65] == 0).all() and (depth[:, 80:] > 0).all()


def test_classes_come_from_the_annotated_segments(raw: Path) -> None:
    write_dslr(raw / "data" / SCENE / "dslr")
    scans = raw / "data" / SCENE / "scans"
    write(scans / "segments.json", json.dumps({"segIndices": np.repeat(np.arange(6) * 100, 4).tolist()}))
    groups = [{"objectId": k, "label": label, "segments": [100 * k]} for k, label in enumerate(LABELS)]
    write(scans / "segments_anno.json", json.dumps({"segGroups": groups}))
    run(raw)
    folder = raw.parent / "out" / f"{SCENE}_dslr"
    with np.load(folder / "cameras.npz") as cameras:
        matrix, camera_to_world = cameras["intrinsics"][0], cameras["camera_to_world"][0].astype(float)
    label, depth = (read_plane(folder / kind / "000001.png") for kind in ("label", "depth"))
    y, x = np.indices(label.shape)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(matrix).T
    points = rays * (depth / 1000)[..., None] @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]
    sides = np.stack(
        [points[..., 1], -points[..., 1], points[..., 0], -points[..., 0], points[..., 2], -points[..., 2]]
    )
    gap = np.repeat(box_room.HALF[[1, 0, 2]], 2)[:, None, None] - sides
    expected = np.array([1, 2, 0, 3, 7, 255])[gap.argmin(0)]
    certain = (depth > 0) & (np.sort(gap, axis=0)[1] > 0.05)  # away from the edges of the room
    assert (label[depth == 0] == 255).all()
    assert (label == expected)[certain].all() and len(np.unique(label[certain])) >= 3


def test_label_names() -> None:
    assert [class_of(name) for name in ("Wall", "sofa", "couch", "bed", "desk", "REMOVE")] == [0, 5, 5, 6, 7, 255]


def test_bad_frames_are_dropped_with_a_reason(raw: Path) -> None:
    folder = raw / "data" / SCENE / "dslr"
    write_dslr(folder, numbers=(1, 2, 3, 4, 5, 6, 7))
    images, masks = folder / "resized_images", folder / "resized_anon_masks"
    write(images / "DSC00001.JPG", (images / "DSC00001.JPG").read_bytes()[:2000])
    (masks / "DSC00002.png").unlink()
    (images / "DSC00003.JPG").unlink()
    write(images / "DSC00004.JPG", jpeg(np.zeros((20, 30, 3), np.uint8)))
    text = (folder / "colmap" / "images.txt").read_text().replace(" DSC00005.JPG", "@").split("\n")
    text = [" ".join([line.split()[0], *["nan"] * 7, "3 DSC00005.JPG"]) if "@" in line else line for line in text]
    write(folder / "colmap" / "images.txt", "\n".join(text))
    assert run(raw).dropped == {
        "damaged color image": 1,
        "no anonymization mask": 1,
        "no color image": 1,
        "sizes differ: color (20, 30), mask (160, 240), camera (160, 240)": 1,
        "pose is not finite": 1,
        "test image": 1,
    }


def test_masks_and_blur_are_choices(raw: Path) -> None:
    folder = raw / "data" / SCENE / "dslr"
    write_dslr(folder)
    (folder / "resized_anon_masks" / "DSC00002.png").unlink()
    bad = [{"file_path": "DSC00001.JPG", "is_bad": True}, {"file_path": "DSC00002.JPG", "is_bad": False}]
    write(folder / "nerfstudio" / "transforms.json", json.dumps({"frames": bad, "test_frames": []}))
    summary = run(raw, require_masks=False, skip_blurred=True)
    assert summary.frames == 1 and summary.dropped == {"test image": 1, "blurred image": 1}


def test_a_scene_without_a_mesh_fails_alone_and_is_taken_up_again(raw: Path) -> None:
    write_dslr(raw / "data" / SCENE / "dslr")
    second = raw / "data" / "other"
    write_dslr(second / "dslr")
    summary = run(raw)
    assert summary.written == [f"{SCENE}_dslr"] and "the mesh is missing" in summary.failed["other_dslr"]
    box_room.write_mesh(second / "scans" / "mesh_aligned_0.05.ply")
    again = run(raw)
    assert again.present == [f"{SCENE}_dslr"] and again.written == ["other_dslr"]
    assert facts(raw, "other_dslr")["attributes"]["split"] == "val"


def test_missing_lists_are_named(raw: Path) -> None:
    write_dslr(raw / "data" / SCENE / "dslr")
    (raw / "data" / SCENE / "dslr" / "train_test_lists.json").unlink()
    assert "train_test_lists.json" in run(raw).failed[f"{SCENE}_dslr"]
    (raw / "splits" / "nvs_sem_val.txt").unlink()
    with pytest.raises(ValueError, match=r"splits: .*nvs_sem_val.txt is missing"):
        run(raw)
