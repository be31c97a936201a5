"""Users' knowledge reaches the result: the world of given cameras, metres of given depth, holes behind masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree

from common.data.sources.frame_source import Frame
from common.data.sources.image_files import FolderSource
from common.errors import ConfigurationError
from common.geometry.calibration import Calibration
from common.geometry.cameras import unproject_to_world
from common.known.cameras import KnownCamera, KnownCameras
from common.known.settings import KnownSettings, ScaleSettings
from common.refinement.outcome import Refinement
from common.refinement.settings import RefinementSettings
from slam3r.scene.known.input import Known, KnownFrame, KnownInput
from slam3r.scene.known.world import Movable, enter_known_world
from slam3r.scene.refined import finish_scene, hold_input
from slam3r.scene.scene import Scene
from slam3r.scene.settings import ExportSettings
from tests.support.filmed_room import FilmedRoom, film
from tests.support.refined_scene import gather, reconstructed

EXPORT = ExportSettings(confidence=2.0)
UNIT = 100.0  # the given world is in centimetres, so that no unit is right by chance


@pytest.fixture(scope="module")
def room() -> FilmedRoom:
    torch.manual_seed(0)
    return film(7, frames=6)


def lens(room: FilmedRoom) -> Calibration:
    height, width = room.pictures[0].size
    return Calibration(room.focal, room.focal, (width - 1) / 2, (height - 1) / 2, (height, width))


def cameras(room: FilmedRoom) -> KnownCameras:
    poses = room.camera_to_world.numpy().copy()
    poses[:, :3, 3] *= UNIT
    given = lens(room)
    return KnownCameras([(f"{i}.jpg", KnownCamera(pose, given.scaled)) for i, pose in enumerate(poses)], "test")


def finish(room: FilmedRoom, known: Known, mode: str, frames: list[KnownFrame]) -> tuple[Scene, Refinement | None]:
    """A reconstructed room through refinement into the known world."""
    settings = RefinementSettings(mode=mode)
    held = hold_input(settings, everything=True)
    assert held is not None
    gather(room, held, frames)
    scene = reconstructed(room)
    refinement = finish_scene(scene, held, settings, EXPORT, trust=known.settings, progress=False)
    told = KnownInput(known, (120, 160))
    told.frames = frames
    enter_known_world(Movable(scene, refinement, held), told)
    return scene, refinement


def facts(room: FilmedRoom, known: Known) -> list[KnownFrame]:
    """Pictures as `KnownInput` prepares them, but for those that the support code resizes itself."""
    result = []
    for index in range(len(room.pictures)):
        camera = None if known.cameras is None else known.cameras.find(f"{index}.jpg")
        given = camera is not None and known.has_poses
        result.append(
            KnownFrame(
                lens=None if camera is None else camera.lens_of,
                intrinsics=None if camera is None else lens(room).matrix,
                camera_to_world=camera.camera_to_world if camera is not None and given else None,
            )
        )
    return result


def distances(scene: Scene, room: FilmedRoom) -> np.ndarray:
    """Distance of every point to the nearest true one, in metres if the scene is."""
    matrix = torch.from_numpy(lens(room).matrix).float()
    truth = unproject_to_world(room.depth, matrix, room.camera_to_world.float()).reshape(-1, 3).numpy()
    return cKDTree(truth).query(scene.points[::20])[0]


def test_a_refined_scene_is_in_the_world_of_the_cameras(room: FilmedRoom) -> None:
    known = Known(cameras=cameras(room))
    scene, refinement = finish(room, known, "cameras", facts(room, known))
    assert refinement is not None and scene.unit.source == "cameras"
    assert scene.unit.factor == pytest.approx(UNIT, rel=0.2)  # the network's scale was 10 % wrong
    centres = scene.camera_to_world[:, :3, 3] / UNIT
    np.testing.assert_allclose(centres, room.camera_to_world[:, :3, 3], atol=1e-4)
    assert scene.intrinsics[0, 0, 0] == pytest.approx(room.focal)
    scene.points = scene.points / UNIT
    assert np.median(distances(scene, room)) < 0.03
    assert scene.unrefined is not None  # in the same world, as far as it can be
    before = scene.unrefined.camera_to_world[:, :3, 3] / UNIT - room.camera_to_world[:, :3, 3].numpy()
    assert np.median(np.linalg.norm(before, axis=1)) < 0.3


def test_an_unrefined_scene_is_moved_as_a_whole(room: FilmedRoom) -> None:
    known = Known(cameras=cameras(room))
    scene, refinement = finish(room, known, "off", facts(room, known))
    assert refinement is None and scene.unit.source == "cameras" and "moved" in scene.unit.sentence()
    off = scene.camera_to_world[:, :3, 3] / UNIT - room.camera_to_world[:, :3, 3].numpy()
    assert np.median(np.linalg.norm(off, axis=1)) < 0.3


@pytest.mark.parametrize("mode", ["off", "cameras"])
def test_depth_makes_metres(room: FilmedRoom, mode: str) -> None:
    truth = room.depth[:, 1::2, 1::2]
    chosen = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) < 0.05
    frames = [KnownFrame(depth=torch.where(here, depth, 0.0)) for here, depth in zip(chosen, truth)]
    room = replace(room, prediction=replace(room.prediction, depth=7 * room.prediction.depth))
    room.prediction.camera_to_world = room.prediction.camera_to_world.clone()
    room.prediction.camera_to_world[:, :3, 3] *= 7  # a network's unit is its own
    scene, _ = finish(room, Known(depths=object()), mode, frames)  # type: ignore[arg-type]
    assert scene.unit.source == "depths" and "metres" in scene.unit.sentence()
    path = np.linalg.norm(np.diff(scene.camera_to_world[:, :3, 3], axis=0), axis=1).sum()
    true_path = float(room.camera_to_world[:, :3, 3].diff(dim=0).norm(dim=1).sum())
    assert path == pytest.approx(true_path, rel=0.02 if mode == "cameras" else 0.3)


def test_one_distance_scales_everything(room: FilmedRoom) -> None:
    known = Known(scale=ScaleSettings(between=("1.jpg", "4"), distance=2.0))
    before = reconstructed(room)
    scene, _ = finish(room, known, "off", facts(room, known))
    poses = scene.camera_to_world[:, :3, 3]
    assert np.linalg.norm(poses[1] - poses[4]) == pytest.approx(2.0)
    np.testing.assert_allclose(scene.points, scene.unit.factor * before.points, rtol=1e-5)
    assert scene.unit.source == "distance" and scene.unit.factor != 1


def test_masked_pixels_have_no_point(room: FilmedRoom) -> None:
    mask = np.ones(room.pictures[0].size, bool)
    mask[:, :100] = False
    frames = [KnownFrame(mask=mask, usable=torch.from_numpy(mask[1::2, 1::2])) for _ in room.pictures]
    scene, refinement = finish(room, Known(masks=object()), "cameras", frames)  # type: ignore[arg-type]
    assert refinement is not None and refinement.depth is not None
    assert not refinement.depth.confirmed[:, :, :50].any() and refinement.depth.confirmed.any()
    assert not torch.isfinite(refinement.world_points(0)[:, :50]).any()
    assert scene.tracks is not None and (scene.tracks.xy[:, 0] > 95).all()


def test_pictures_lose_their_distortion() -> None:
    lens = Calibration(60.0, 60.0, 31.5, 23.5, (48, 64), k1=0.2)
    told = KnownInput(Known(calibration=lens), (32, 32))
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    frame, prepared, item = told.prepare(Frame(picture, 0, 0.0, "a.jpg", Path("a.jpg")))
    assert frame.path is None and not np.array_equal(frame.image, picture)  # no file has these pixels
    assert item.intrinsics is not None and item.intrinsics[0, 2] == 31.5 and item.lens is not None
    assert prepared.original_size == (48, 64) and Known(calibration=lens).undistorts


def test_pictures_without_a_camera_are_named(room: FilmedRoom, tmp_path: Path) -> None:
    names = [name for name, _ in cameras(room)]
    for name in (*names, "stranger.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / Path(name).with_suffix(".png"))
    source = FolderSource(tmp_path)
    Known(cameras=cameras(room)).check(source)
    count = len(names) + 1
    assert source.notes == [f"1 of {count} pictures have no known camera and get their own (stranger.png)"]


def test_contradictions_are_one_line(room: FilmedRoom) -> None:
    length = ScaleSettings(marker=0.1)
    with pytest.raises(ConfigurationError, match=r"more than once: by cameras .* and by scale"):
        Known(cameras=cameras(room), scale=length)
    Known(cameras=cameras(room), scale=length, settings=KnownSettings(poses="ignore"))
    with pytest.raises(ConfigurationError, match="has intrinsics already"):
        Known(cameras=cameras(room), calibration=lens(room))
    with pytest.raises(ValueError, match="go together"):
        ScaleSettings(distance=1.0)
