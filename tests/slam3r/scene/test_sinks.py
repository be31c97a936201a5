"""Contents and size of the records of registered frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.data.sources.preprocess import denormalize
from common.export.npy import NpyWriter
from slam3r.scene.frame_strip import StripRecorder, draw_strip, frame_depth
from slam3r.scene.recording import FILES, PredictionRecorder
from slam3r.scene.sinks import FrameRecorder, PointStore
from tests.support.tiny_scene import registered_frames, room


def numbered(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points that can be told apart by their x."""
    points = np.zeros((count, 3), np.float32)
    points[:, 0] = np.arange(count)
    return points, np.zeros((count, 3), np.uint8), np.ones(count, np.float32)


def stored(count: int, chunk: int, bound: int, seed: int = 0) -> np.ndarray:
    store = PointStore(1.0, bound, seed)
    points, colors, confidence = numbered(count)
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        store.add_points(points[part], colors[part], confidence[part])
    store.close()
    assert store.num_seen == count
    return store.points[:, 0].astype(int)


def test_bound_is_exact_and_nothing_comes_twice() -> None:
    kept = stored(50_000, 700, 12_345)
    assert len(kept) == len(set(kept)) == 12_345
    assert (np.diff(kept) > 0).all()  # in the order in which they came


def test_all_points_stay_below_the_bound() -> None:
    assert stored(5000, 300, 5000).tolist() == stored(5000, 300, 0).tolist() == list(range(5000))


def test_choice_depends_on_the_seed_and_not_on_the_chunks() -> None:
    first = stored(300_000, 1000, 2000, seed=1)
    assert first.tolist() == stored(300_000, 77_777, 2000, seed=1).tolist()
    assert first.tolist() != stored(300_000, 1000, 2000, seed=2).tolist()


def test_choice_is_uniform() -> None:
    counts = np.zeros(1000)
    for seed in range(400):
        counts[stored(1000, 130, 250, seed)] += 1
    # each point is kept in about a quarter of the runs: binomial, standard deviation 8.7
    assert counts.sum() == 400 * 250
    assert abs(counts - 100).max() < 5 * 8.7
    assert abs(counts[:500].mean() - counts[500:].mean()) < 2.5


def test_memory_is_bounded() -> None:
    store = PointStore(1.0, 10_000)
    points, colors, confidence = numbered(50_000)
    for _ in range(20):
        store.add_points(points, colors, confidence)
        assert store._held <= 10_000 + (1 << 16)


def test_only_real_confident_points_are_kept() -> None:
    frame = registered_frames()[0]
    confidence, valid = torch.full_like(frame.world_confidence, 5.0), torch.ones_like(frame.valid)
    valid[0, :2] = False
    confidence[0, 2] = 2.0  # not above the threshold
    store = PointStore(2.0)
    store.add(replace(frame, valid=valid, world_confidence=confidence))
    assert len(store.points) == len(store.colors) == len(store.confidence) == confidence.numel() - 3
    assert torch.equal(torch.from_numpy(store.points), frame.world_points.reshape(-1, 3)[3:])
    assert np.array_equal(store.colors, denormalize(frame.image).numpy().reshape(-1, 3)[3:])
    assert store.highest_confidence == 5.0


def test_empty_store() -> None:
    store = PointStore(99.0)
    store.add(registered_frames()[0])
    store.close()
    assert store.points.shape == (0, 3) and store.colors.dtype == np.uint8


def test_recorder_keeps_what_is_known_of_frames() -> None:
    recorder = FrameRecorder()
    for frame in registered_frames():
        recorder.add(frame)
    assert [frame.status for frame in recorder.frames].count("low_confidence") == 1
    assert recorder.frames[5].camera_to_world is None
    assert np.allclose(recorder.frames[4].camera_to_world, room().camera_to_world[4])
    assert recorder.frames[2].min_confidence < recorder.frames[2].mean_confidence


def test_npy_grows_and_maps(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((7, 4, 3)).astype(np.float32)
    writer = NpyWriter(tmp_path / "a.npy", (4, 3), np.float32)
    writer.append(rows[:5])
    writer.append(rows[5:])
    assert not (tmp_path / "a.npy").exists()
    writer.close()
    writer.close()
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap) and np.array_equal(mapped, rows)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npy"]
    with pytest.raises(RuntimeError, match="closed"):
        writer.append(rows)


def test_npy_refuses_other_shapes(tmp_path: Path) -> None:
    writer = NpyWriter(tmp_path / "a.npy", (4, 3), np.float32)
    with pytest.raises(ValueError, match="rows of shape"):
        writer.append(np.zeros((2, 3, 4)))
    writer.close()
    assert np.load(tmp_path / "a.npy").shape == (0, 4, 3)


def test_predictions_round_trip(tmp_path: Path) -> None:
    frames, recorder = registered_frames(), PredictionRecorder(tmp_path / "predictions")
    for frame in frames:
        recorder.add(frame)
    recorder.close()
    arrays = {name: np.load(tmp_path / "predictions" / f"{name}.npy", mmap_mode="r") for name in FILES}
    assert np.array_equal(arrays["registered_pcds"], torch.stack([f.world_points for f in frames]))
    assert np.array_equal(arrays["registered_confs"], torch.stack([f.world_confidence for f in frames]))
    assert np.array_equal(arrays["registered_valid"], torch.stack([f.valid for f in frames]))
    assert np.array_equal(arrays["local_pcds"][1], frames[1].local_points)
    assert not arrays["local_pcds"][0].any()  # a frame of the initial window has none
    assert arrays["input_imgs"].dtype == np.uint8 and arrays["input_imgs"].shape == (12, 48, 64, 3)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_strip_holds_few_frames(count: int) -> None:
    recorder = StripRecorder(3)
    for frame in registered_frames()[:count]:
        recorder.add(frame)
        assert len(recorder._held) <= 6
    assert len(recorder.frames) == min(3, count)
    assert recorder.frames[0].name == "photo0.png"
    picture = draw_strip(recorder.frames)
    assert picture.dtype == np.uint8 and picture.shape[1] == 6 + min(3, count) * 70


def test_depth_of_a_registered_frame_is_the_true_one() -> None:
    assert np.allclose(frame_depth(registered_frames()[4]), room().depth[4], atol=1e-4)


def test_a_share_of_the_points_stays_although_all_are_uncertain() -> None:
    store = PointStore(0.0, 0)
    points, colors, _ = numbered(100)
    store.add_points(points, colors, np.linspace(0.1, 1, 100, dtype=np.float32))
    store.raise_threshold(5.0, 0.25)
    assert store.num_seen == len(store.points) and 25 <= len(store.points) <= 26
    assert store.points[-1, 0] == 99 and store.threshold < store.confidence.min()


def test_a_share_does_not_lower_a_threshold_that_keeps_enough() -> None:
    store = PointStore(0.0, 0)
    points, colors, _ = numbered(100)
    store.add_points(points, colors, np.arange(100, dtype=np.float32))
    store.raise_threshold(19.0, 0.25)
    assert store.threshold == 19.0 and store.points[:, 0].tolist() == list(range(20, 100))
