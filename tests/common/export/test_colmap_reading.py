"""COLMAP models as COLMAP and others write them: every camera model, tracks, blanks, damage."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from common.errors import InputError
from common.export.colmap import read_colmap
from common.export.colmap_reading import read_colmap_images, read_colmap_points
from common.geometry.lens import Lens, parameter_names

SIZE = (480, 640)
PERSPECTIVE = [name for name in pycolmap.CameraModelId.__members__ if name not in ("INVALID", "EQUIRECTANGULAR")]
SMALL = {"omega": 0.3, "alpha": 0.6, "beta": 1.1}


def parameters(model: str) -> list[float]:
    known = {"f": 500.0, "fx": 500.0, "fy": 510.0, "cx": 322.0, "cy": 239.0, **SMALL}
    return [known.get(name, 0.01) for name in parameter_names(model)]


def write_reconstruction(folder: Path, model: str, text: bool, names: tuple[str, ...] = ("a.png", "b.png")) -> None:
    """A model with a point that two images see, written by COLMAP's own library."""
    made = pycolmap.Reconstruction()
    camera = pycolmap.Camera(camera_id=3, model=model, width=640, height=480, params=parameters(model))
    made.add_camera_with_trivial_rig(camera)
    for number, name in enumerate(names, 1):
        image = pycolmap.Image(name=name, camera_id=3, image_id=number, keypoints=np.array([[10.5, 20.5], [30, 40]]))
        moved = pycolmap.Rigid3d(pycolmap.Rotation3d([0, 0, 0.6, 0.8]), [number, 2.0, 3.0])
        made.add_image_with_trivial_frame(image, moved)
    track = pycolmap.Track()
    for number in range(1, len(names) + 1):
        track.add_element(number, 0)
    made.add_point3D([1.0, 2.0, 3.5], track, [9, 8, 7])
    folder.mkdir(parents=True)
    made.write_text(str(folder)) if text else made.write_binary(str(folder))


@pytest.mark.parametrize("text", [True, False], ids=["text", "binary"])
@pytest.mark.parametrize("model", PERSPECTIVE)
def test_every_camera_model_is_read_as_colmap_means_it(tmp_path: Path, model: str, text: bool) -> None:
    write_reconstruction(tmp_path / "0", model, text)
    first, second = read_colmap_images(tmp_path / "0")
    assert (first.name, second.name) == ("a.png", "b.png")
    assert first.lens == Lens(model, SIZE, tuple(parameters(model)))
    directions = np.array([[0.0, 0.0], [0.2, -0.1], [-0.3, 0.25]])
    truth = pycolmap.Reconstruction(str(tmp_path / "0"))
    expected = truth.cameras[3].img_from_cam(np.column_stack([directions, np.ones(3)]))
    np.testing.assert_allclose(first.lens.project(directions), expected - 0.5, atol=1e-9)
    np.testing.assert_allclose(first.lens.unproject(expected - 0.5), directions, atol=1e-6)
    pose = truth.images[2].cam_from_world().inverse().matrix()
    np.testing.assert_allclose(second.camera_to_world[:3], pose, atol=1e-12)
    points, colors = read_colmap_points(tmp_path / "0")
    assert points.tolist() == [[1.0, 2.0, 3.5]] and colors.tolist() == [[9, 8, 7]]


def test_distortion_is_never_passed_over(tmp_path: Path) -> None:
    """0.1 of SIMPLE_RADIAL moves a corner of this picture by some 13 pixels."""
    write_reconstruction(tmp_path / "0", "SIMPLE_RADIAL", text=True)
    with pytest.raises(InputError, match=r"a\.png has lens distortion \(SIMPLE_RADIAL\)"):
        read_colmap(tmp_path / "0")
    write_reconstruction(tmp_path / "1", "SIMPLE_PINHOLE", text=True)
    assert read_colmap(tmp_path / "1").size == SIZE


def test_a_camera_that_sees_all_around_is_named(tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text("1 EQUIRECTANGULAR 640 320 640 320\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 1 a.png\n\n")
    with pytest.raises(InputError, match="EQUIRECTANGULAR"):
        read_colmap_images(tmp_path)


@pytest.mark.parametrize(
    "images",
    [
        "1 1 0 0 0 0 0 0 1 my photo 1.png\n10.5 20.25 -1\n2 1 0 0 0 0 0 0 1 b.png\n\n",
        "# comment\n\n1 1 0 0 0 0 0 0 1 my photo 1.png\n\n\n2 1 0 0 0 0 0 0 1 b.png\n",
        "1 1 0 0 0 0 0 0 1 my photo 1.png\r\n2 1 0 0 0 0 0 0 1 b.png\r\n",
        "\ufeff1 1 0 0 0 0 0 0 1 my photo 1.png\n10.5 20.25 -1 30 40 7\n\n2 1 0 0 0 0 0 0 1 b.png\n1 2 3\n",
        "1 1 0 0 0 0 0 0 1 my photo 1.png\n\n10.5 20.25 -1\n\n2 1 0 0 0 0 0 0 1 b.png\n\n1 2 3\n\n",
    ],
    ids=["tracks", "blank lines", "no lines of features", "byte order mark", "every line doubled"],
)
def test_text_as_people_leave_it(tmp_path: Path, images: str) -> None:
    (tmp_path / "cameras.txt").write_text("# cameras\n\n1 PINHOLE 640 480 500 510 320 240\n\n")
    (tmp_path / "images.txt").write_text(images)
    assert [image.name for image in read_colmap_images(tmp_path)] == ["b.png", "my photo 1.png"]


def test_an_image_without_a_pose_stays_visible(tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 640 480 500 510 320 240\n")
    (tmp_path / "images.txt").write_text(
        "1 0 0 0 0 0 0 0 1 a.png\n\n2 1 0 0 0 nan 0 0 1 b.png\n\n3 1 0 0 0 0 0 0 1 c.png\n\n"
    )
    assert [bool(np.isfinite(image.camera_to_world).all()) for image in read_colmap_images(tmp_path)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("kept", [0, 3, 30, 70])
@pytest.mark.parametrize("name", ["cameras.bin", "images.bin"])
def test_cut_files_are_named(tmp_path: Path, name: str, kept: int) -> None:
    write_reconstruction(tmp_path / "0", "OPENCV", text=False)
    file = tmp_path / "0" / name
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"{name}: not a COLMAP model"):
        read_colmap_images(tmp_path / "0")


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_damaged_count_is_not_believed(tmp_path: Path, name: str) -> None:
    write_reconstruction(tmp_path / "0", "OPENCV", text=False)
    file = tmp_path / "0" / name
    file.write_bytes(struct.pack("<Q", 1 << 60) + file.read_bytes()[8:])
    with pytest.raises(InputError, match=name):
        read_colmap_points(tmp_path / "0") if name.startswith("points") else read_colmap_images(tmp_path / "0")


def test_an_image_of_an_unknown_camera_is_named(tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 640 480 500 510 320 240\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 9 a.png\n\n")
    with pytest.raises(InputError, match="camera 9 is not in the model"):
        read_colmap_images(tmp_path)
