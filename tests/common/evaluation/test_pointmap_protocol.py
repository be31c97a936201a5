"""Truth and scores of whole sequences, with answers known by construction."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from common.data.sources.preprocess import preprocess
from common.errors import InputError
from common.evaluation.pointmaps import PointsProtocol, draw_pixels, score_pointmaps
from common.evaluation.sequence import FrameChoice, RgbdSequence, choose_scenes, open_readers
from common.evaluation.truth import SequenceTruth, load_truth
from common.files import write_json
from common.geometry.cameras import unproject_to_world

INTRINSICS = np.array([[60.0, 0, 47.0], [0, 62.0, 31.0], [0, 0, 1]])


@pytest.fixture
def replica(tmp_path: Path) -> Path:
    """Six frames in the layout of the Replica renders, 64 x 96: a slanted wall, whose depth depends on the pixel."""
    room = tmp_path / "replica" / "room0"
    (room / "results").mkdir(parents=True)
    rows, columns = np.mgrid[:64, :96]
    for i in range(6):
        image = np.stack([rows * 3, columns * 2, np.full_like(rows, 40 * i)], axis=-1).astype(np.uint8)
        depth = (1.5 + 0.01 * columns + 0.005 * rows + 0.02 * i) * 6553.5
        depth[:5] = 0
        cv2.imwrite(str(room / "results" / f"frame{i:06d}.jpg"), image)
        cv2.imwrite(str(room / "results" / f"depth{i:06d}.png"), depth.round().astype(np.uint16))
    poses = np.tile(np.eye(4), (6, 1, 1))
    poses[:, 0, 3] = np.linspace(0, 0.5, 6)
    np.savetxt(room / "traj.txt", poses.reshape(6, 16))
    camera = {"fx": 60.0, "fy": 62.0, "cx": 47.0, "cy": 31.0, "scale": 6553.5, "w": 96, "h": 64}
    write_json(room.parent / "cam_params.json", {"camera": camera})
    return room.parent


def test_frames_and_cameras_of_a_choice(replica: Path) -> None:
    (reader,) = open_readers(replica)
    sequence = RgbdSequence(reader, FrameChoice(every=2, first=1, most=2))
    assert sequence.numbers.tolist() == [1, 3]
    assert sequence.camera_to_world[:, 0, 3] == pytest.approx([0.1, 0.3])
    assert sequence.intrinsics[0] == pytest.approx(INTRINSICS)
    assert [(frame.index, frame.name, frame.image.shape) for frame in sequence] == [
        (0, "000001", (64, 96, 3)),
        (1, "000003", (64, 96, 3)),
    ]
    assert sequence.depth(1)[10, 20] == pytest.approx(1.5 + 0.2 + 0.05 + 0.06, abs=1e-4)


def test_what_cannot_be_opened_is_said(replica: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        open_readers(tmp_path / "nowhere")
    with pytest.raises(InputError, match="data_process"):
        open_readers(tmp_path)
    with pytest.raises(InputError, match="no office9 among room0"):
        choose_scenes(open_readers(replica), ["office9"])
    with pytest.raises(InputError, match="1 of 6 frames"):
        RgbdSequence(open_readers(replica)[0], FrameChoice(first=5))


def test_truth_lies_under_the_pixels_of_the_network(replica: Path, tmp_path: Path) -> None:
    """A network pixel maps to a place in the picture; its true point projects to within half a pixel of it."""
    sequence = RgbdSequence(open_readers(replica)[0], FrameChoice())
    truth = load_truth(sequence, (32, 32), tmp_path / "cache")
    assert truth.depth.shape == (6, 32, 32)
    valid = truth.depth[3].reshape(-1) > 0
    pixels = np.flatnonzero(valid)
    points = truth.points(np.full(len(pixels), 3), pixels) - sequence.camera_to_world[3, :3, 3]
    projected = points @ INTRINSICS.T
    affine = preprocess(np.zeros((64, 96, 3), np.uint8), (32, 32)).original_from_network.numpy()
    places = np.stack([pixels % 32, pixels // 32, np.ones(len(pixels))], axis=1) @ affine.T
    assert np.abs(projected[:, :2] / projected[:, 2:] - places[:, :2]).max() <= 0.5 + 1e-6


def test_truth_at_full_size_is_the_plain_unprojection_and_is_cached(replica: Path, tmp_path: Path) -> None:
    sequence = RgbdSequence(open_readers(replica)[0], FrameChoice())
    truth = load_truth(sequence, (64, 96), tmp_path / "cache")
    depth = torch.from_numpy(np.stack([sequence.depth(i) for i in range(6)])).double()
    expected = unproject_to_world(
        depth, torch.from_numpy(sequence.intrinsics), torch.from_numpy(sequence.camera_to_world)
    ).numpy()
    frames, pixels = np.divmod(np.arange(6 * 64 * 96), 64 * 96)
    assert np.abs(truth.points(frames, pixels) - expected.reshape(-1, 3)).max() < 1e-9

    written = (tmp_path / "cache" / "depth.npy").stat().st_mtime_ns
    load_truth(sequence, (64, 96), tmp_path / "cache")
    assert (tmp_path / "cache" / "depth.npy").stat().st_mtime_ns == written
    load_truth(RgbdSequence(open_readers(replica)[0], FrameChoice(every=2)), (64, 96), tmp_path / "cache")
    assert (tmp_path / "cache" / "depth.npy").stat().st_mtime_ns != written


def test_pixels_are_drawn_from_the_mask_alone_without_repetition() -> None:
    masks = np.random.default_rng(0).random((5, 40)) < [[0.9], [0.0], [0.5], [0.1], [1.0]]
    frames, pixels, total = draw_pixels(masks.__getitem__, 5, 30, seed=1)
    assert total == masks.sum() and len(frames) == 30
    assert masks[frames, pixels].all()
    assert len(set(zip(frames.tolist(), pixels.tolist(), strict=True))) == 30
    every = draw_pixels(masks.__getitem__, 5, 10_000, seed=1)
    assert np.array_equal(np.stack(every[:2]), np.stack(np.nonzero(masks)))
    same = draw_pixels(masks.__getitem__, 5, 30, seed=1)
    assert np.array_equal(same[1], pixels)


def test_draws_are_uniform_over_all_frames() -> None:
    """Expected count 500 of 1000 draws in the frame that has half of the pixels; deviation 4 sigma at most."""
    masks = np.zeros((3, 4000), bool)
    masks[0, :1000], masks[1, :3000], masks[2, :] = True, True, True
    frames, _, _ = draw_pixels(masks.__getitem__, 3, 1000, seed=5)
    assert abs(np.bincount(frames, minlength=3)[2] - 500) < 4 * np.sqrt(1000 * 0.25)


def room_truth(frames: int = 4, size: int = 48) -> SequenceTruth:
    """Corners of a box, seen by a turning camera."""
    y, x = np.mgrid[:size, :size]
    focal = size * 0.6
    ray = np.stack([(x - size / 2) / focal, (y - size / 2) / focal, np.ones_like(x, float)], -1)
    poses, depths = np.tile(np.eye(4), (frames, 1, 1)), []
    for i in range(frames):
        angle = 0.5 * i
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        direction = ray @ turn.T
        with np.errstate(divide="ignore"):
            walls = np.array([1.0, 0.6, 0.9]) / np.abs(direction)
        poses[i, :3, :3] = turn
        depths.append(walls.min(axis=-1))
    intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    grid = np.arange(size)
    return SequenceTruth(np.stack(depths).astype(np.float32), grid, grid, poses, np.tile(intrinsics, (frames, 1, 1)))


def all_points(truth: SequenceTruth) -> np.ndarray:
    count, height, width = truth.depth.shape
    frames, pixels = np.divmod(np.arange(count * height * width), height * width)
    return truth.points(frames, pixels).reshape(count, height, width, 3)


def test_a_similar_copy_of_the_truth_scores_perfectly_and_alike_each_time() -> None:
    truth = room_truth()
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    points = (all_points(truth) @ turn.T / 3 + [1, 2, 3]).astype(np.float32)
    confidence = np.full(truth.depth.shape, 4.0, np.float32)
    # The published similarity is made of medians and is not exact (the vectors of the protocol say how much).
    found = score_pointmaps(points, confidence, truth, PointsProtocol(num_samples=9000), workers=1)
    assert found.score.accuracy < 0.01 and found.score.completeness < 0.01
    assert found.alignment.scale == pytest.approx(3, rel=0.02)
    again = score_pointmaps(points, confidence, truth, PointsProtocol(num_samples=9000), workers=1)
    assert again.score == found.score


def test_what_completeness_asks_for() -> None:
    """Confident only in the left half of each frame: complete there, but not for the whole truth."""
    truth = room_truth(frames=2)
    confidence = np.where(np.arange(48) < 24, 4.0, 1.0) * np.ones((2, 48, 1))
    points = all_points(truth)
    paired, whole = (
        score_pointmaps(points, confidence, truth, PointsProtocol(num_samples=4000, truth=kind), workers=1).score
        for kind in ("paired", "all")
    )
    assert paired.completeness < 0.02
    assert whole.completeness > 5 * paired.completeness
    assert whole.completion_ratio < 0.8 < paired.completion_ratio


def test_too_few_confident_points_are_an_error() -> None:
    truth = room_truth(frames=2)
    with pytest.raises(ValueError, match="only 0 points have a confidence above 3"):
        score_pointmaps(all_points(truth), np.ones(truth.depth.shape), truth, PointsProtocol())
    with pytest.raises(ValueError, match="not of the same pixels"):
        score_pointmaps(all_points(truth)[:1], np.ones(truth.depth.shape), truth, PointsProtocol())
