"""The bounded map: merges by confidence, never exceeds its bound, can be followed by slots."""

from __future__ import annotations

import numpy as np
import pytest

from slam3r.live.scene_map import SceneMap
from slam3r.live.settings import WAYS, MapSettings
from tests.support.tiny_scene import registered_frames

SETTINGS = MapSettings(max_points=4096, voxel_size=0.1, confidence=0.0)


def cloud(count: int, seed: int, extent: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-extent, extent, (count, 3)).astype(np.float32)
    return points, rng.integers(0, 256, (count, 3)).astype(np.uint8), rng.uniform(1, 9, count).astype(np.float32)


def by_voxel(points: np.ndarray, size: float) -> dict[tuple[int, ...], list[int]]:
    voxels: dict[tuple[int, ...], list[int]] = {}
    for row, cell in enumerate(np.floor(points.astype(np.float64) / size).astype(int)):
        voxels.setdefault(tuple(cell), []).append(row)
    return voxels


def test_a_voxel_holds_the_confidence_weighted_mean_of_all_its_points() -> None:
    scene = SceneMap(SETTINGS)
    points, colors, confidence = cloud(900, 0, 0.4)
    for frame, part in enumerate(np.array_split(np.arange(900), 3)):
        scene.add_points(points[part], colors[part], confidence[part], frame)
    expected = by_voxel(points, 0.1)
    assert scene.num_points == len(scene.points) == len(expected)
    found = by_voxel(scene.points, 0.1)
    for cell, rows in expected.items():
        (slot,) = found[cell]
        weights = confidence[rows]
        np.testing.assert_allclose(scene.points[slot], np.average(points[rows], 0, weights), atol=1e-6)
        np.testing.assert_allclose(scene.confidence[slot], weights.sum(), rtol=1e-5)
        assert np.abs(scene.colors[slot] - np.average(colors[rows], 0, weights)).max() <= 0.51


def test_the_bound_holds_and_what_was_seen_longest_ago_goes() -> None:
    scene = SceneMap(MapSettings(max_points=1000, voxel_size=0.01, confidence=0))
    for frame in range(20):
        scene.add_points(*cloud(400, frame), frame)
        assert scene.num_points == len(scene.slots) <= 1000
    assert scene.num_points > 950
    assert scene.num_evicted > 0
    # Everything was seen once: the last frame is whole, the first are gone.
    kept = by_voxel(scene.points, 0.01)
    share = [np.mean([cell in kept for cell in by_voxel(cloud(400, frame)[0], 0.01)]) for frame in range(20)]
    assert share[-1] > 0.99
    assert max(share[:10]) < 0.1


def test_weakest_eviction_never_gives_up_confidence_for_less() -> None:
    scene = SceneMap(MapSettings(max_points=WAYS, voxel_size=0.01, confidence=0, eviction="weakest"))
    points, colors, _ = cloud(WAYS, 0)
    scene.add_points(points, colors, np.full(WAYS, 5.0), 0)
    before = scene.points.copy()
    scene.add_points(*cloud(WAYS, 1)[:2], np.full(WAYS, 1.0), 1)
    np.testing.assert_array_equal(scene.points, before)
    scene.add_points(*cloud(WAYS, 2)[:2], np.full(WAYS, 9.0), 2)
    assert (scene.confidence == 9).all()


def test_writing_the_deltas_gives_the_map() -> None:
    scene = SceneMap(MapSettings(max_points=1000, voxel_size=0.05, confidence=0))
    mirror: dict[int, np.ndarray] = {}
    for frame in range(12):
        delta = scene.add_points(*cloud(300, frame), frame)
        mirror.update(zip(delta.slots.tolist(), delta.points, strict=True))
    assert sorted(mirror) == scene.slots.tolist()
    np.testing.assert_array_equal(np.array([mirror[slot] for slot in sorted(mirror)]), scene.points)


def test_the_work_for_a_frame_does_not_grow_with_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = SceneMap(MapSettings(max_points=200_000, voxel_size=0.01, confidence=0))
    touched: list[int] = []
    places = scene._places
    monkeypatch.setattr(scene, "_places", lambda buckets: touched.append(len(buckets)) or places(buckets))
    for frame in range(100):
        touched.clear()
        scene.add_points(*cloud(1000, frame), frame)
        assert sum(touched) <= 2000  # buckets looked into: one per new point to find, one at most to place
    assert scene.num_points > 80_000


def test_frames_give_their_confident_points_only() -> None:
    frame = registered_frames(1)[0]
    frame.valid[0, :2] = False
    scene = SceneMap(MapSettings(confidence=6.0, voxel_size=1e-4))
    delta = scene.add(frame)
    confident = (frame.world_confidence > 6).flatten()[2:].sum()
    assert delta.new.all()
    assert 0.9 * confident < scene.num_points <= confident


def test_points_beyond_reach_are_counted_and_left_out() -> None:
    scene = SceneMap(SETTINGS)
    scene.add_points(np.array([[1e9, 0, 0], [0.05, 0, 0]]), np.zeros((2, 3), np.uint8), np.ones(2), 0)
    assert (scene.num_points, scene.num_out_of_reach) == (1, 1)
    assert scene.add_points(np.empty((0, 3)), np.empty((0, 3), np.uint8), np.empty(0), 1).slots.size == 0


def test_its_state_brings_a_map_back() -> None:
    scene, copy = SceneMap(SETTINGS), SceneMap(SETTINGS)
    scene.add_points(*cloud(500, 0), 0)
    copy.load_state_dict(scene.state_dict())
    for one in (scene, copy):
        one.add_points(*cloud(500, 1), 1)
    np.testing.assert_array_equal(scene.points, copy.points)
    assert scene.num_points == copy.num_points
