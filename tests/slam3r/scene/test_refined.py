"""A scene after refinement: better where pictures allow it, the old one with a verdict where they do not."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import open3d
import pycolmap
import pytest
import torch
from scipy.spatial import cKDTree

import slam3r.scene.refined as refined_module
from common.errors import ConfigurationError
from common.export.colmap_tracks import TrackedModel, write_tracked_model
from common.export.ply import read_ply
from common.export.trajectory import read_tum
from common.geometry.alignment import umeyama
from common.geometry.cameras import unproject_to_world
from common.geometry.colmap_backend import BackendMissingError
from common.refinement.outcome import Refinement
from common.refinement.settings import RefinementSettings
from slam3r.scene.depth_maps import SCALE_FILE, write_depth_maps
from slam3r.scene.fused_mesh import fuse_scene
from slam3r.scene.outputs import write_results
from slam3r.scene.refined import finish_scene, hold_input, resolve_mode
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene import Scene
from slam3r.scene.settings import ExportSettings
from tests.support.filmed_room import FilmedRoom, film, path_error
from tests.support.refined_scene import gather, reconstructed

EXPORT = ExportSettings(confidence=2.0)


@pytest.fixture(scope="module")
def room() -> FilmedRoom:
    torch.manual_seed(0)
    return film(7)


def finish(
    room: FilmedRoom, mode: str, export: ExportSettings = EXPORT
) -> tuple[Scene, RefinementInput, Refinement | None]:
    settings = RefinementSettings(mode=mode)
    held = hold_input(settings)
    assert held is not None
    gather(room, held)
    scene = reconstructed(room)
    return scene, held, finish_scene(scene, held, settings, export, progress=False)


@pytest.fixture(scope="module")
def refined(room: FilmedRoom) -> tuple[Scene, RefinementInput, Refinement]:
    scene, held, refinement = finish(room, "dense")
    assert refinement is not None
    return scene, held, refinement


def to_truth(scene: Scene, room: FilmedRoom) -> np.ndarray:
    """(4, 4) similarity from the scene's world to the true one."""
    centres = torch.from_numpy(scene.camera_to_world[:, :3, 3])
    return umeyama(centres, room.camera_to_world[:, :3, 3].double()).numpy()


def test_path_and_points_come_out_right(room: FilmedRoom, refined: tuple) -> None:
    scene, _, _ = refined
    before = reconstructed(room)
    assert path_error(torch.from_numpy(before.camera_to_world), room.camera_to_world) > 0.03
    assert path_error(torch.from_numpy(scene.camera_to_world), room.camera_to_world) < 0.01
    intrinsics = torch.tensor([[room.focal, 0, 159.5], [0, room.focal, 119.5], [0, 0, 1]])
    truth = unproject_to_world(room.depth, intrinsics, room.camera_to_world.float()).reshape(-1, 3).numpy()
    tree = cKDTree(truth)

    def accuracy(found: Scene) -> float:
        transform = to_truth(found, room)
        points = found.points @ transform[:3, :3].T + transform[:3, 3]
        return float(tree.query(points[::50])[0].mean())

    assert accuracy(scene) < min(0.04, accuracy(before) / 2)
    assert scene.num_confident > 0.3 * room.prediction.depth.numel()


def test_confidence_counts_the_views_that_see_a_point(refined: tuple) -> None:
    scene, _, refinement = refined
    assert scene.threshold == 1.0 and scene.confidence.min() >= 3.0  # two others at least
    assert scene.confidence.max() <= 1 + int(refinement.depth.views.max())


def test_the_verdict_is_told_and_written(refined: tuple, tmp_path: Path) -> None:
    scene, _, _ = refined
    assert scene.verdict.applied == "dense" and scene.verdict.agrees
    assert scene.verdict.epipolar_error < scene.verdict.epipolar_error_before / 4
    assert "pictures and cameras agree" in scene.verdict.sentence()
    write_results(scene, tmp_path, ExportSettings(preview=False, strip=False))
    verdict = json.loads((tmp_path / "summary.json").read_text())["verdict"]
    assert (
        verdict["applied"] == scene.verdict.applied
        and verdict["frames_connected"] == 1.0
        and 0 < verdict["confirmed"] < 1
    )


def test_unconfirmed_points_are_kept_when_asked_for(room: FilmedRoom, refined: tuple) -> None:
    scene, _, _ = finish(room, "cameras", ExportSettings(confidence=2.0, unconfirmed=True))
    assert scene.threshold == 0.0 and scene.confidence.min() == 1.0
    assert scene.num_confident == room.prediction.depth.numel()


def test_an_unrefined_scene_stays_as_it_was_and_is_checked(room: FilmedRoom) -> None:
    scene, _, refinement = finish(room, "off")
    expected = reconstructed(room)
    assert refinement is None and np.array_equal(scene.points, expected.points)
    assert np.array_equal(scene.camera_to_world, expected.camera_to_world)
    assert scene.verdict.applied == "none" and scene.verdict.agrees is False
    assert "do NOT agree" in scene.verdict.sentence()


def test_true_cameras_pass_the_check(room: FilmedRoom) -> None:
    prediction = room.prediction
    focal = room.focal / 2
    true = FilmedRoom(
        room.pictures,
        type(prediction)(
            prediction.depth,
            prediction.valid,
            prediction.confidence,
            room.camera_to_world.float(),
            torch.tensor([[focal, 0, 79.5], [0, focal, 59.5], [0, 0, 1]]),
        ),
        room.camera_to_world,
        room.depth,
        room.focal,
    )
    scene, _, _ = finish(true, "off")
    assert scene.verdict.agrees and scene.verdict.epipolar_error < 0.5


def test_pictures_without_texture_leave_the_scene_alone_and_say_so(room: FilmedRoom) -> None:
    blank = [
        type(picture)(**{**vars(picture), "image": torch.full_like(picture.image, 128)}) for picture in room.pictures
    ]
    plain = FilmedRoom(blank, room.prediction, room.camera_to_world, room.depth, room.focal)
    scene, _, _ = finish(plain, "auto")
    assert np.array_equal(scene.points, reconstructed(plain).points)
    assert scene.verdict.applied == "none" and not scene.verdict.agrees and "kept" in scene.verdict.reason


def test_two_pictures_are_enough_to_try(room: FilmedRoom) -> None:
    scene, _, _ = finish(room.part([0, 3]), "auto")
    assert len(scene.points) and scene.verdict.reason


def test_a_fault_in_refinement_costs_no_reconstruction(room: FilmedRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(refined_module, "_take_points", fail)
    part = room.part(list(range(6)))
    scene, _, refinement = finish(part, "auto")
    expected = reconstructed(part)
    assert refinement is None and "out of luck" in scene.verdict.reason
    assert np.array_equal(scene.camera_to_world, expected.camera_to_world) and scene.tracks is None
    with pytest.raises(RuntimeError, match="out of luck"):
        finish(part, "dense")


def test_without_pycolmap_auto_goes_on_and_dense_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise BackendMissingError("this needs pycolmap")

    monkeypatch.setattr(refined_module, "pycolmap_module", missing)
    assert resolve_mode(RefinementSettings(), "auto") == "off" and "pycolmap" in caplog.text
    with pytest.raises(ConfigurationError, match=r"refinement.mode=dense: this needs pycolmap"):
        resolve_mode(RefinementSettings(mode="dense"), "off")


def test_depth_maps_lie_on_the_original_pixels(room: FilmedRoom, refined: tuple, tmp_path: Path) -> None:
    scene, held, refinement = refined
    write_depth_maps(tmp_path, scene, held, refinement, EXPORT)
    unit = json.loads((tmp_path / SCALE_FILE).read_text())["unit_per_step"]
    scale = np.cbrt(np.linalg.det(to_truth(scene, room)[:3, :3]))
    errors = []
    for index in range(len(room.pictures)):
        depth = cv2.imread(str(tmp_path / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED) * unit * scale
        truth = room.depth[index].numpy()
        assert depth.shape == truth.shape
        known = (depth > 0) & (truth > 0)
        errors.append(np.abs(depth - truth)[known] / truth[known])
    assert np.median(np.concatenate(errors)) < 0.02


def test_the_mesh_lies_on_the_room(room: FilmedRoom, refined: tuple, tmp_path: Path) -> None:
    scene, held, refinement = refined
    mesh = fuse_scene(scene, held, refinement, EXPORT)
    scene.mesh = mesh
    write_results(scene, tmp_path, ExportSettings(preview=False, strip=False))
    read = open3d.io.read_triangle_mesh(str(tmp_path / "mesh.ply"))
    assert len(read.triangles) == len(mesh.triangles) > 10_000
    intrinsics = torch.tensor([[room.focal, 0, 159.5], [0, room.focal, 119.5], [0, 0, 1]])
    truth = unproject_to_world(room.depth, intrinsics, room.camera_to_world.float()).reshape(-1, 3).numpy()
    transform = to_truth(scene, room)
    vertices = np.asarray(read.vertices)[::20] @ transform[:3, :3].T + transform[:3, 3]
    distance = cKDTree(truth[::3]).query(vertices)[0]
    assert distance.mean() < 0.05 and np.quantile(distance, 0.95) < 0.12
    seen_from = room.camera_to_world[:, :3, 3].mean(dim=0).numpy()
    read.compute_triangle_normals()
    corners = np.asarray(read.vertices)[np.asarray(read.triangles)[:, 0]] @ transform[:3, :3].T + transform[:3, 3]
    facing = ((np.asarray(read.triangle_normals) @ transform[:3, :3].T) * (seen_from - corners)).sum(axis=1)
    assert (facing > 0).mean() > 0.9  # surfaces face the camera


def test_an_unrefined_scene_has_a_mesh_of_the_networks_depth(room: FilmedRoom) -> None:
    settings = RefinementSettings(mode="off")
    held = hold_input(settings, everything=True)
    assert held is not None
    gather(room, held)
    scene = reconstructed(room)
    assert len(fuse_scene(scene, held, None, EXPORT).triangles) > 10_000
    scene.threshold = 1e9
    assert len(fuse_scene(scene, held, None, EXPORT).triangles) == 0


def test_colmap_reads_observations_and_tracks(room: FilmedRoom, refined: tuple, tmp_path: Path) -> None:
    scene, _, _ = refined
    tracks = scene.tracks
    model = TrackedModel(
        scene.camera_to_world,
        scene.intrinsics,
        np.array([frame.radial_distortion for frame in scene.frames]),
        np.array([frame.original_size for frame in scene.frames]),
        [f"a b/{frame.name}" for frame in scene.frames],
        tracks.points,
        tracks.colors,
        tracks.point,
        tracks.frame,
        tracks.xy,
    )
    write_tracked_model(tmp_path / "sparse", model)
    read = pycolmap.Reconstruction(str(tmp_path / "sparse"))
    assert sorted(image.name for image in read.images.values()) == sorted(model.image_names)
    assert read.compute_num_observations() == len(tracks.point) and len(read.points3D) == len(tracks.points)
    assert read.compute_mean_reprojection_error() < 0.5
    camera = next(iter(read.cameras.values()))
    assert camera.mean_focal_length() == pytest.approx(room.focal, rel=0.02)


def test_only_a_sample_is_held_for_the_check_and_its_cameras_have_no_gaps(room: FilmedRoom) -> None:
    held = RefinementInput(1024, most=5)
    gather(room, held)
    assert 2 <= len(held.frames) <= 5 and not held.complete
    assert {picture.camera for picture in held.pictures()} == {0}
    assert len(held.prediction()) == len(held.frames)


def test_the_scene_before_is_kept_small_and_written(room: FilmedRoom, refined: tuple, tmp_path: Path) -> None:
    scene, before = refined[0], reconstructed(room)
    assert scene.unrefined is not None and len(scene.unrefined.points) == len(before.points)
    np.testing.assert_array_equal(scene.unrefined.camera_to_world, before.camera_to_world)
    write_results(scene, tmp_path, ExportSettings(preview=False, strip=False, unrefined_points=500))
    assert len(read_ply(tmp_path / "unrefined.ply").points) == 500
    written = read_tum(tmp_path / "unrefined_trajectory.txt").camera_to_world
    np.testing.assert_allclose(written, before.camera_to_world, atol=1e-6)
    write_results(before, tmp_path, ExportSettings(preview=False, strip=False))
    assert not list(tmp_path.glob("unrefined*")), "a scene that was not refined has no other state"
