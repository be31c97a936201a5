"""Procedural rooms: determinism, exact geometry, free cameras, and the way to disk and back."""

import json

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from common.data.scenes.datasets.rgbd_folder import ColorJitter, RgbdFolderDataset, mixed_folders
from common.data.scenes.datasets.rooms import RoomsDataset
from common.data.scenes.scene_folder import DataError
from common.rooms import LABEL_NAMES, Degradation, room_seed, room_sequence, room_video
from common.rooms.camera_path import CLEARANCE, Tilt
from common.rooms.layout import build_room
from common.rooms.looks.textures import FAMILY, texture_bank
from common.rooms.primitives import BOX, CEILING, FLOOR, WALL
from common.rooms.raycast import RayGrid, cast
from common.rooms.renderer import RoomRenderer
from common.views import Views
from data_process.rooms import RoomSettings, write_scenes

SIZE = (48, 64)


@pytest.fixture(scope="module")
def views() -> Views:
    return room_sequence(3, 5, SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("rooms")
    write_scenes(root, 2, RoomSettings(frames=8, size=SIZE), workers=0, progress=False)
    return root


def reproject(views: Views, start: int, end: int):
    """Depth of view `start` in view `end`, and the depth that view `end` has there, for pixels seen by both."""
    height, width = views.depth.shape[1:]
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack((u, v, torch.ones_like(u)), -1).double()
    poses, intrinsics = views.camera_to_world.double(), views.intrinsics.double()
    points = views.depth[start].double()[..., None] * (pixels @ torch.linalg.inv(intrinsics[start]).T)
    change = torch.linalg.inv(poses[end]) @ poses[start]
    points = points @ change[:3, :3].T + change[:3, 3]
    target = points @ intrinsics[end].T
    target = target[..., :2] / target[..., 2:]
    limit = torch.tensor([width - 1, height - 1])
    seen = (points[..., 2] > 0) & (target >= 0).all(-1) & (target <= limit).all(-1)
    grid = (2 * target[seen] / limit - 1)[None, None]
    inverse = F.grid_sample(1 / views.depth[end].double()[None, None], grid, align_corners=True)  # linear on planes
    return points[..., 2][seen], 1 / inverse[0, 0, 0]


def test_a_tilted_camera_looks_down_and_leans_where_the_usual_one_does_not(views):
    def angles(poses):
        """Degrees below the horizon, and of the lean, of cameras to world; z is up."""
        down = torch.rad2deg(torch.asin(-poses[:, 2, 2]))
        return down, torch.rad2deg(torch.asin(poses[:, 2, 0]).abs())

    held = Tilt(pitch=(-0.8, -0.7), lean=0.2)
    down, lean = angles(torch.cat([room_sequence(seed, 2, 16, tilt=held).camera_to_world for seed in range(4)]))
    assert down.min() > 30 and down.max() < 55 and lean.max() > 5
    down, lean = angles(views.camera_to_world)
    assert down.max() < 30 and lean.max() < 10
    assert torch.equal(room_sequence(3, 5, SIZE, tilt=Tilt()).images, views.images)


def test_shapes_types_and_ranges(views):
    assert views.images.shape == (5, 3, *SIZE) and views.images.dtype == torch.float32
    assert views.images.min() >= -1 and views.images.max() <= 1
    assert views.depth.shape == (5, *SIZE) and views.depth.min() > 0.1 and views.depth.isfinite().all()
    assert views.labels.dtype == torch.int64 and views.labels.max() < len(LABEL_NAMES)
    rotation = views.camera_to_world[:, :3, :3]
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).expand(5, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(5), atol=1e-5)
    assert torch.equal(views.intrinsics[0, :2, 2], torch.tensor([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2]))


def test_same_seed_same_views_and_global_generators_untouched(views):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = room_sequence(3, 5, SIZE)
    assert torch.equal(again.images, views.images) and torch.equal(again.depth, views.depth)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert not torch.equal(room_sequence(4, 1, SIZE).depth[0], views.depth[0])


@pytest.mark.parametrize("seed", [3, 8, 21])
def test_reprojected_depth_agrees(seed):
    views = room_sequence(seed, 4, (96, 128))
    for end in (1, 3):
        expected, found = reproject(views, 0, end)
        error = (expected / found - 1).abs()
        assert len(error) > 2000
        assert error.median() < 1e-5
        assert (error < 0.01).double().mean() > 0.85


def test_hits_lie_on_their_primitives():
    scene = build_room(11)
    views = room_sequence(11, 2, SIZE)
    grid = RayGrid.from_cameras(views.camera_to_world, views.intrinsics, SIZE)
    hits = cast(scene.primitives, grid)
    points = (grid.origin.T[:, :, None, None] + grid.directions() * hits.depth).permute(1, 2, 3, 0)
    index = hits.primitive
    table = scene.primitives
    local = table.to_local(points - table.center[index], index) / table.half_size[index]
    box = (table.kind[index] == BOX) | (index == 0)
    assert torch.allclose(local[box].abs().amax(-1), torch.ones(int(box.sum())), atol=2e-3)
    between = (grid.origin.T[:, :, None, None] + grid.directions() * hits.depth * 0.99).permute(1, 2, 3, 0)
    assert table.clearance(between).min() > -0.35  # cylinders and ellipsoids count as their boxes
    boxes_only = table[(table.kind == BOX) | (table.kind == 3)]
    assert boxes_only.clearance(between).min() > -1e-3


def test_culling_changes_nothing():
    scene = build_room(5)
    views = room_sequence(5, 1, SIZE)
    grid = RayGrid.from_cameras(views.camera_to_world, views.intrinsics, SIZE)
    whole = cast(scene.primitives, grid).depth
    single = [cast(scene.primitives[[0, k]], grid).depth for k in range(1, len(scene.primitives.kind))]
    assert torch.equal(whole, torch.stack(single).amin(0))


def test_axis_aligned_ray_has_a_finite_depth():
    scene = build_room(2)
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    pose[:3, 3] = torch.tensor([0.01, -0.02, 1.5])
    intrinsics = torch.tensor([[40.0, 0, 16], [0, 40, 12], [0, 0, 1]])  # the middle ray has two components of 0
    depth = cast(scene.primitives, RayGrid.from_cameras(pose[None], intrinsics[None], (25, 33))).depth
    assert depth.isfinite().all() and depth.min() > 0


def test_all_classes_occur_and_shell_labels_fit():
    labels = torch.cat([build_room(seed).surfaces.label for seed in range(12)])
    assert set(labels.tolist()) == set(range(len(LABEL_NAMES)))
    scene = build_room(9)
    views = room_sequence(9, 4, SIZE)
    hits = cast(scene.primitives, RayGrid.from_cameras(views.camera_to_world, views.intrinsics, SIZE))
    shell = set(views.labels[hits.primitive == 0].tolist())
    assert shell <= {WALL, FLOOR, CEILING} and WALL in shell


@pytest.mark.parametrize("seed", range(8))
def test_cameras_keep_clear(seed):
    scene = build_room(seed)
    places = room_sequence(seed, 6, (8, 8), stride=2).camera_to_world[:, :3, 3]
    assert scene.primitives.clearance(places).min() > CLEARANCE - 1e-3


def test_video_pans_round():
    video = room_video(room_seed("held_out", 0, 1), 90, (6, 8))
    forward = video.camera_to_world[:, :3, 2]
    sectors = torch.atan2(forward[:, 1], forward[:, 0]).div(torch.pi / 6).floor().unique()
    assert len(sectors) == 12
    step = video.camera_to_world[:, :3, 3].diff(dim=0).norm(dim=-1)
    assert step.max() < 0.3


def test_no_degradation_means_no_noise():
    off = Degradation(exposure=0, white_balance=0, vignette=0, blur=0, noise=0)
    clean, usual = room_sequence(3, 2, SIZE, degradation=off), room_sequence(3, 2, SIZE)
    assert torch.equal(clean.depth, usual.depth)
    assert 0 < (clean.images - usual.images).abs().mean() < 0.3


def test_texture_bank_is_complete():
    bank = texture_bank(0, "cpu")
    assert max(max(indices) for indices in FAMILY.values()) == 6 * len(FAMILY) - 1
    assert bank.starts[1] == 6 * len(FAMILY) * 256 * 256


def test_groups_of_views_render_the_same():
    views = room_sequence(6, 3, SIZE)
    renderer = RoomRenderer(build_room(6))
    renderer.group = 3
    together = renderer.render(views.camera_to_world, views.intrinsics, SIZE)
    assert torch.equal(together.depth, views.depth) and torch.equal(together.labels, views.labels)


def test_dataset_is_deterministic_and_splits_are_disjoint():
    data = RoomsDataset(length=5, num_views=2, size=SIZE)
    assert len(data) == 5
    first, again = data[4], RoomsDataset(length=9, num_views=2, size=SIZE)[4]
    assert torch.equal(first.images, again.images)
    batch = Views.stack([data[0], data[1]])
    assert batch.images.shape == (2, 2, 3, *SIZE)
    other = RoomsDataset(length=5, num_views=2, size=SIZE, split="held_out")
    assert not torch.equal(other[4].depth, first.depth)
    with pytest.raises(IndexError):
        data[5]
    with pytest.raises(ValueError, match="unknown split 'test'"):
        RoomsDataset(split="test")


def test_round_trip_through_the_disk(folder):
    wanted = room_sequence(room_seed("train", 0, 1), 8, SIZE)
    found = RgbdFolderDataset(folder, num_views=8, order="forward")[1]
    assert torch.allclose(found.depth, wanted.depth, atol=6e-4)
    assert torch.equal(found.labels, wanted.labels)
    assert torch.allclose(found.camera_to_world, wanted.camera_to_world, atol=1e-6)
    assert torch.allclose(found.intrinsics, wanted.intrinsics, atol=1e-4)
    assert (found.images - wanted.images).abs().mean() < 0.06


def test_data_sets_side_by_side_give_their_shares(folder, tmp_path):
    write_scenes(tmp_path / "large", 1, RoomSettings(frames=4, size=SIZE, seed=9), workers=0, progress=False)
    (tmp_path / "small").symlink_to(folder)
    mixed = mixed_folders(tmp_path, {"small": 3, "large": 1}, num_views=2)
    names = [mixed.describe(index) for index in range(len(mixed))]
    assert [name.split("/")[0] for name in names] == ["small"] * 3 + ["large"]
    assert mixed[0].images.shape == (2, 3, *SIZE)
    with pytest.raises(DataError, match="no scene folders"):
        mixed_folders(tmp_path, {"missing": 1})


def test_writing_resumes_and_refuses_other_settings(folder):
    settings = RoomSettings(frames=8, size=SIZE)
    mark = folder / "scene_000000" / "mark"
    mark.touch()
    assert len(write_scenes(folder, 2, settings, workers=0, progress=False)) == 2
    assert mark.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["rooms.json", "scene_000000", "scene_000001"]
    assert json.loads((folder / "rooms.json").read_text())["frames"] == 8
    with pytest.raises(ValueError, match=r"rooms\.json was written with other settings \(frames\)"):
        write_scenes(folder, 2, RoomSettings(frames=9, size=SIZE), workers=0)


def test_folder_windows(folder):
    data = RgbdFolderDataset(folder, num_views=3, stride=(1, 3), length=6, seed=1)
    assert len(data) == 6 and data[5].images.shape == (3, 3, *SIZE)
    first = data[0]
    assert torch.equal(first.depth, RgbdFolderDataset(folder, num_views=3, stride=(1, 3), seed=1)[0].depth)
    windows = []
    for epoch in range(8):
        data.set_epoch(epoch)
        windows.append(data[0].camera_to_world)
    assert len({tuple(window[:, :3, 3].flatten().tolist()) for window in windows}) > 3
    shuffled = RgbdFolderDataset(folder, num_views=8, order="shuffled")[0]
    assert shuffled.depth.shape == (8, *SIZE)


def test_folder_resize_keeps_the_geometry(folder):
    views = RgbdFolderDataset(folder, num_views=3, stride=1, size=(36, 36), order="forward")[0]
    assert views.images.shape == (3, 3, 36, 36) and views.labels.shape == (3, 36, 36)
    expected, found = reproject(views, 0, 1)
    assert (expected / found - 1).abs().median() < 0.02


def test_color_jitter(folder):
    plain = RgbdFolderDataset(folder, num_views=2)[0]
    jittered = RgbdFolderDataset(folder, num_views=2, jitter=ColorJitter(per_view=True))[0]
    assert torch.equal(plain.depth, jittered.depth)
    assert not torch.equal(plain.images, jittered.images)
    assert jittered.images.abs().max() <= 1
    same = RgbdFolderDataset(folder, num_views=2, jitter=ColorJitter(0, 0, 0))[0]
    assert torch.allclose(same.images, plain.images, atol=1e-6)


def test_damaged_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no scene folders"):
        RgbdFolderDataset(tmp_path)
    write_scenes(tmp_path, 1, RoomSettings(frames=3, size=16), workers=0, progress=False)
    scene = tmp_path / "scene_000000"
    with pytest.raises(ValueError, match="order must be"):
        RgbdFolderDataset(tmp_path, order="random")
    with pytest.raises(DataError, match="has 3 frames, fewer than the 5"):
        RgbdFolderDataset(tmp_path, num_views=5)[0]
    data = RgbdFolderDataset(tmp_path, num_views=3)
    depth = scene / "depth" / "000001.png"
    cv2.imwrite(str(depth), np.zeros((16, 16), np.uint8))
    with pytest.raises(DataError, match=r"depth/000001\.png has uint8 pixels"):
        data[0]
    depth.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"depth/000001\.png is not an image"):
        data[0]
    depth.unlink()
    with pytest.raises(DataError, match=r"depth/000001\.png is missing"):
        data[0]
    (scene / "pose" / "000000.txt").write_text("1 2 nan")
    with pytest.raises(DataError, match=r"pose/000000\.txt does not hold a finite 4 x 4 matrix"):
        RgbdFolderDataset(tmp_path, num_views=3)[0]


def test_worker_processes_write_the_same(tmp_path, folder):
    write_scenes(tmp_path, 1, RoomSettings(frames=8, size=SIZE), workers=1, progress=False)
    name = "scene_000000/color/000007.jpg"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
