"""Pictures to a result folder, with the model's own cameras and with known ones; what is wrong is told in a line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import uni3r
from common.errors import ConfigurationError, InputError
from common.export.colmap import make_colmap_model, write_colmap
from common.export.nerfstudio import read_nerfstudio, write_nerfstudio
from common.geometry.transforms import invert_rigid, rotation_angle
from common.known.camera_files import read_cameras
from common.rooms import room_video
from common.views import Views
from tests.support.tiny_uni3r import SIZE, network, photos, room
from uni3r.gaussians.files import load_ply
from uni3r.gaussians.spz import load_spz
from uni3r.scene.settings import ExportSettings, FlightSettings

QUICK = {"refinement": {"shrink": (8,), "renderings": 1}, "progress": False, "size": SIZE}
SMALL = {"flight": {"frames": 3}, "film_scale": 1, "splat": True, "progress": False}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A model by description, with words from the labels of rooms."""
    folder = tmp_path_factory.mktemp("weights")
    network().save_pretrained(folder)
    inference = {"size": SIZE, "sh_degree": None, "teacher": None, "labels": "rooms", "unit": {"rule": "points"}}
    return {"name": "miniature", "weights": str(folder), "inference": inference}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("room"), room())


def test_a_folder_of_pictures_becomes_a_folder_of_results(model: dict, pictures: Path, tmp_path: Path) -> None:
    scene = uni3r.reconstruct(pictures, model, tmp_path / "out", export=SMALL, views=3, field_of_view=60.0, **QUICK)
    out = tmp_path / "out"
    assert scene.gaussians.count == 3 * SIZE[0] * SIZE[1]
    assert load_ply(out / "gaussians.ply").count == scene.gaussians.count
    assert (out / "gaussians.splat").stat().st_size == 32 * scene.gaussians.count
    summary = json.loads((out / "summary.json").read_text())
    assert summary["views"] == ["photo0.png", "photo1.png", "photo2.png"]
    assert summary["poses_from"] == "own"
    assert summary["verdict"]["applied"] == "none"
    assert "do NOT agree" in summary["verdict"]["sentence"]
    assert any(warning.startswith("no pose was found for photo") for warning in summary["warnings"])
    assert len(set(summary["warnings"])) == len(summary["warnings"])
    assert all((out / name).exists() for name in summary["written"])
    assert {"color.mp4", "depth.mp4", "features.mp4"} <= set(summary["written"])
    assert not (out / "segmentation.mp4").exists()  # nobody understands words here
    assert len(list((out / "views").glob("*_color.png"))) == len(scene.posed)
    with pytest.raises(InputError, match="already holds"):
        uni3r.reconstruct(pictures, model, out, export=SMALL, **QUICK)


def test_a_view_without_a_pose_where_matching_is_off(model: dict, pictures: Path) -> None:
    scene = uni3r.reconstruct(pictures, model, views=3, field_of_view=60.0, matched={"mode": "off"}, **QUICK)
    assert "switched off" in scene.verdict.sentence()
    assert [warning for warning in scene.warnings if warning.startswith("no pose was found for photo")]


def test_many_pictures_that_do_not_match_are_aligned_and_warned_of_once(tmp_path: Path) -> None:
    """A first attempt to match them that fails leaves no warning of its own."""
    torch.manual_seed(0)
    noise = Views(torch.rand(5, 3, 128, 128) * 2 - 1)
    scene = uni3r.reconstruct(photos(tmp_path, noise), "uni3r_tiny", views=5, progress=False)
    assert scene.poses_from == "own" and scene.verdict.agrees is False
    assert scene.warnings.count(scene.verdict.sentence()) == 1


def test_small_files_and_wrong_limits(model: dict, pictures: Path, tmp_path: Path) -> None:
    export = {"flight": {"frames": 0}, "spz": True, "glb": True, "max_gaussians": 500, "sh_degree": 0}
    scene = uni3r.reconstruct(pictures, model, tmp_path / "out", export=export, views=3, field_of_view=60.0, **QUICK)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["gaussians"], summary["gaussians_written"]) == (scene.gaussians.count, 500)
    assert {"gaussians.ply", "gaussians.spz", "gaussians.glb"} <= set(summary["written"])
    written, packed = load_ply(tmp_path / "out" / "gaussians.ply"), load_spz(tmp_path / "out" / "gaussians.spz")
    assert written.count == packed.count == 500 and written.harmonics.shape[-2] == 1
    for wrong, said in (({"max_gaussians": 0}, "max_gaussians"), ({"sh_degree": 4}, "sh_degree")):
        with pytest.raises(ConfigurationError, match=rf"{said}: .*(greater|less) than or equal to"):
            uni3r.reconstruct(pictures, model, tmp_path / "out", export=wrong, **QUICK)


def test_cameras_are_matched_in_the_original_pictures(tmp_path: Path) -> None:
    """The network sees 224 x 224 pixels, matches are found in 240 x 320."""
    truth = room_video(7, 3, (240, 320), step=0.12, turn=4.0)
    pictures = photos(tmp_path / "large", truth)
    scene = uni3r.reconstruct(pictures, "uni3r_tiny", tmp_path / "out", export=SMALL, views=3, progress=False)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["poses_from"], summary["intrinsics_from"]) == ("matched", "matched")
    assert summary["verdict"]["applied"] == "dense" and "cameras refined" in summary["verdict"]["sentence"]
    assert scene.original_intrinsics(0)[0, 0] == pytest.approx(float(truth.intrinsics[0, 0, 0]), rel=0.15)
    off = uni3r.reconstruct(pictures, "uni3r_tiny", views=3, progress=False, matched={"mode": "off"})
    assert off.poses_from == "own" and "switched off" in off.verdict.sentence()
    true = invert_rigid(truth.camera_to_world[:1]) @ truth.camera_to_world

    def turned(scene: uni3r.Scene) -> float:
        return float(rotation_angle(scene.cameras.camera_to_world[-1, :3, :3], true[-1, :3, :3]))

    assert turned(scene) < torch.pi / 180 / 2  # half a degree; the network's own poses of this room are as good


def test_known_cameras_give_world_and_unit(model: dict, pictures: Path, tmp_path: Path) -> None:
    truth = room()
    names = [f"photo{index}.png" for index in range(3)]
    write_nerfstudio(tmp_path / "transforms.json", truth.camera_to_world, truth.intrinsics[0], SIZE, names)
    scene = uni3r.reconstruct(pictures, model, cameras=tmp_path / "transforms.json", views=3, **QUICK)
    assert (scene.poses_from, scene.intrinsics_from) == ("given", "given")
    assert "cameras were given" in scene.verdict.sentence()
    torch.testing.assert_close(scene.cameras.camera_to_world, truth.camera_to_world, atol=1e-5, rtol=0)
    torch.testing.assert_close(scene.cameras.intrinsics, truth.intrinsics, atol=1e-3, rtol=0)
    # Centres lie on the rays of the known cameras: the first view shows its own picture.
    rendering = scene.render(scene.cameras[:1]).image[0]
    assert (rendering - (truth.images[0] + 1) / 2).abs().mean() < (rendering.mean() - rendering).abs().mean()
    scene.save(tmp_path / "out", ExportSettings(flight=FlightSettings(frames=0)))
    written = read_nerfstudio(tmp_path / "out" / "transforms.json")
    np.testing.assert_allclose(written.camera_to_world, truth.camera_to_world.numpy(), atol=1e-5)


def test_cameras_describe_the_file_that_they_name(model: dict, pictures: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(pictures, turned)
    exif = Image.Exif()
    exif[274] = 3
    Image.open(turned / "photo1.png").save(turned / "photo1.png", exif=exif)
    truth, names = room(), [f"photo{index}.png" for index in range(3)]
    write_nerfstudio(tmp_path / "transforms.json", truth.camera_to_world, truth.intrinsics[0], SIZE, names)
    scene = uni3r.reconstruct(turned, model, cameras=tmp_path / "transforms.json", views=3, **QUICK)
    scene.save(tmp_path / "out", ExportSettings(flight=FlightSettings(frames=0)))
    cameras = read_nerfstudio(tmp_path / "out" / "transforms.json")
    assert [path.split("/")[0] for path in cameras.image_paths] == ["..", "views", ".."]
    for path, (height, width), matrix in zip(cameras.image_paths, cameras.sizes, cameras.intrinsics, strict=True):
        assert Image.open(tmp_path / "out" / path).size == (width, height)
        assert abs(matrix[0, 2] - (width - 1) / 2) < 2 and abs(matrix[1, 2] - (height - 1) / 2) < 2, path


def test_cameras_are_read_from_colmap_and_scannet_folders_too(tmp_path: Path) -> None:
    truth = room()
    poses = truth.camera_to_world.double().numpy()
    matrix = truth.intrinsics[0].double().numpy()
    names = [f"photo{index}.png" for index in range(3)]
    write_colmap(tmp_path / "sparse", make_colmap_model(poses, matrix, SIZE, names))
    (tmp_path / "scan" / "pose").mkdir(parents=True)
    np.savetxt(tmp_path / "scan" / "intrinsics.txt", matrix)
    for index, pose in enumerate(poses):
        np.savetxt(tmp_path / "scan" / "pose" / f"photo{index}.txt", pose)
    for folder in ("sparse", "scan"):
        cameras = read_cameras(tmp_path / folder)
        camera = cameras.find("photo1.png")
        np.testing.assert_allclose(camera.camera_to_world, poses[1], atol=1e-6)
        straight = cameras.straighten("photo1.png", camera, np.zeros((*SIZE, 3), np.uint8))
        np.testing.assert_allclose(straight.intrinsics, matrix, atol=1e-6)


def test_a_picture_without_a_usable_camera_is_left_out(model: dict, pictures: Path, tmp_path: Path) -> None:
    truth, names = room(), [f"photo{index}.png" for index in range(3)]
    write_nerfstudio(tmp_path / "transforms.json", truth.camera_to_world, truth.intrinsics[0], SIZE, names)
    content = json.loads((tmp_path / "transforms.json").read_text())
    content["frames"][1]["transform_matrix"][0][0] = 7.0
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    scene = uni3r.reconstruct(pictures, model, cameras=tmp_path / "transforms.json", views=3, **QUICK)
    assert [view.name for view in scene.views] == ["photo0.png", "photo2.png"]
    assert any("photo1.png" in warning and "orthonormal" in warning for warning in scene.warnings)


def test_faults_are_told_before_the_work(model: dict, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no cameras at"):
        uni3r.reconstruct(pictures, model, cameras=tmp_path / "none.json", **QUICK)
    with pytest.raises(ConfigurationError, match="multiples of 16"):
        uni3r.reconstruct(pictures, model, **{**QUICK, "size": (50, 48)})
    with pytest.raises(ConfigurationError, match="understands no words"):
        uni3r.reconstruct(pictures, model, tmp_path / "q", export={"queries": ("chair",)}, field_of_view=60.0, **QUICK)
    (tmp_path / "transforms.json").write_text('{"frames": []}')
    with pytest.raises(InputError, match="holds no usable camera"):
        uni3r.reconstruct(pictures, model, cameras=tmp_path / "transforms.json", **QUICK)
