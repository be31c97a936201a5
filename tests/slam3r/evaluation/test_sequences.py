"""A whole benchmark over a processed scene on disk, with small random networks, and its scores on a perfect run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf

from common.data.sources.preprocess import denormalize
from common.errors import ConfigurationError
from common.evaluation.benchmark import build_benchmark
from common.evaluation.pointmaps import PointsProtocol
from common.evaluation.runner import run_benchmark
from common.evaluation.sequence import FrameChoice, RgbdSequence, open_readers
from common.evaluation.truth import load_truth
from slam3r.evaluation.recorded_run import EvaluationRun
from slam3r.evaluation.sequence_scores import depth_row, path_row, points_row
from tests.support.configs import compose_config
from tests.support.tiny_scene import room, save_weights

FRAMES, SIZE = 12, (48, 64)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """The room of `tests.support.tiny_scene` in the layout of ``data_process``."""
    views = room(FRAMES, SIZE)
    folder = tmp_path / "data" / "walk"
    (folder / "color").mkdir(parents=True)
    (folder / "depth").mkdir()
    for i, image in enumerate(denormalize(views.images).numpy()):
        cv2.imwrite(str(folder / "color" / f"{i:06d}.jpg"), image[..., ::-1])
        depth = (views.depth[i].numpy() * 1000).round().astype(np.uint16)
        cv2.imwrite(str(folder / "depth" / f"{i:06d}.png"), depth)
    np.savez(
        folder / "cameras.npz",
        number=np.arange(FRAMES),
        camera_to_world=views.camera_to_world.numpy(),
        intrinsics=views.intrinsics.numpy(),
    )
    return folder.parent


def configuration(path: Path, weights: Path, **changes: Any) -> Mapping[str, Any]:
    """``configs/evaluate.yaml`` with the folder benchmark and random weights."""
    overrides = [f"benchmark.{key}={value}" for key, value in changes.items()]
    config = compose_config(
        "evaluate",
        [
            "benchmark=folder",
            f"benchmark.path={path}",
            "benchmark.size=[48,64]",
            "benchmark.points.confidence=0",
            "benchmark.points.num_samples=2000",
            "reconstruction.keyframe_stride=1",
            "~model.sizes",
            f"model.weights.image_to_points={weights}/image_to_points",
            f"model.weights.local_to_world={weights}/local_to_world",
            "device=cpu",
            "dtype=float32",
            *overrides,
        ],
    )
    return OmegaConf.to_container(config, resolve=True)


def perfect_run(scene: Path) -> tuple[EvaluationRun, RgbdSequence]:
    """Recording of a perfect system, in another frame and unit; one frame without a pose."""
    sequence = RgbdSequence(open_readers(scene)[0], FrameChoice())
    truth = load_truth(sequence, SIZE, scene.parent / "truth")
    frames, pixels = np.divmod(np.arange(truth.depth.size), SIZE[0] * SIZE[1])
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    points = (truth.points(frames, pixels) @ turn.T / 3 + [1, 2, 3]).reshape(*truth.depth.shape, 3)
    poses = sequence.camera_to_world.copy()
    poses[:, :3, 3] = poses[:, :3, 3] @ turn.T / 3 + [1, 2, 3]
    poses[:, :3, :3] = turn @ poses[:, :3, :3]
    poses[4] = np.nan
    return EvaluationRun(points, np.full(truth.depth.shape, 4.0), truth.depth > 0, poses, 1, 1.0, 0, 0), sequence


def test_a_perfect_run_scores_perfectly(scene: Path, tmp_path: Path) -> None:
    pytest.importorskip("evo")
    run, sequence = perfect_run(scene)
    truth = load_truth(sequence, SIZE, tmp_path / "truth")
    points = points_row(run, truth, PointsProtocol(num_samples=5000), tmp_path)
    assert points["accuracy"] < 0.02 and points["completion_ratio_5cm"] > 0.98 and points["aligned"] == "yes"
    path = path_row(run.camera_to_world, sequence, tmp_path)
    assert path["ate_rmse"] == pytest.approx(0, abs=1e-6) and path["poses"] == FRAMES - 1
    depth = depth_row(run, truth)
    assert depth["depth_abs_rel"] < 1e-4 and depth["depth_delta_1"] == 1 and depth["depth_images"] == FRAMES - 1
    assert depth["depth_abs_rel_ls"] < 1e-3
    for name in ("error_map.ply", "error_map.png", "trajectory.png"):
        assert (tmp_path / name).stat().st_size > 1000


def test_a_run_without_poses_keeps_its_points(scene: Path, tmp_path: Path) -> None:
    run, sequence = perfect_run(scene)
    truth = load_truth(sequence, SIZE, tmp_path / "truth")
    run.camera_to_world[2:] = np.nan
    assert path_row(run.camera_to_world, sequence, None) == {"ate_rmse": None, "poses": 2}
    assert depth_row(run, truth)["depth_images"] == 2
    run.camera_to_world[:] = np.nan
    assert depth_row(run, truth) == {"depth_abs_rel_ls": None, "depth_abs_rel": None, "depth_images": 0}
    assert points_row(run, truth, PointsProtocol(num_samples=500), None)["aligned"] == "yes"


def test_depth_off_by_a_known_share(scene: Path, tmp_path: Path) -> None:
    """Half of the rows 20 % too far: the median image scale lies at one of the two, so half of the pixels err."""
    run, sequence = perfect_run(scene)
    truth = load_truth(sequence, SIZE, tmp_path / "truth")
    centres = run.camera_to_world[:, None, None, :3, 3]
    far = np.where(np.arange(SIZE[0]) % 2, 1.2, 1.0)[None, :, None, None]
    stretched = replace(run, points=(run.points - centres) * far + centres)
    found = depth_row(stretched, truth)
    assert found["depth_delta_1"] == 1
    assert 0.06 < found["depth_abs_rel"] < 0.13


def test_a_benchmark_from_its_configuration(scene: Path, tmp_path: Path) -> None:
    """Reconstructs, scores, cleans up; scores of kept pointmaps change without a reconstruction."""
    pytest.importorskip("evo")
    weights = save_weights(tmp_path / "weights")
    benchmark = build_benchmark(configuration(scene, weights, keep_predictions="true", figures="false"))
    (result,) = run_benchmark(benchmark, tmp_path / "out")
    assert result.reason is None, (tmp_path / "out" / "scenes" / "walk" / "error.txt").read_text()
    assert result.row is not None
    assert result.row["frames"] == FRAMES and result.row["accuracy"] > 0 and result.row["frames_per_second"] > 0
    recording = tmp_path / "out" / "scenes" / "walk" / "reconstruction"
    written = (recording / "predictions" / "registered_pcds.npy").stat().st_mtime_ns

    other = build_benchmark(
        configuration(scene, weights, **{"keep_predictions": "true", "figures": "false", "points.voxel_size": 0.05})
    )
    with pytest.raises(ConfigurationError, match="voxel_size"):
        run_benchmark(other, tmp_path / "out")
    (coarser,) = run_benchmark(other, tmp_path / "out", resume=False)
    assert coarser.row is not None and coarser.row["accuracy"] != result.row["accuracy"]
    assert (recording / "predictions" / "registered_pcds.npy").stat().st_mtime_ns == written

    plain = build_benchmark(configuration(scene, weights, figures="false"))
    (again,) = run_benchmark(plain, tmp_path / "out", resume=False)
    assert again.row is not None and again.row["accuracy"] == pytest.approx(result.row["accuracy"], rel=1e-6)
    assert not (recording / "predictions").exists()


def test_faults_are_told_before_any_work(scene: Path, tmp_path: Path) -> None:
    weights = save_weights(tmp_path / "weights")
    with pytest.raises(ConfigurationError, match=r"measures\[0\].*'points', 'trajectory' or 'depth'"):
        build_benchmark(configuration(scene, weights, measures="[mesh]"))
    with pytest.raises(ConfigurationError, match="voxel_size: expected greater than 0"):
        build_benchmark(configuration(scene, weights, **{"points.voxel_size": -1.0}))


def test_a_scene_with_a_damaged_file_fails_alone(scene: Path, tmp_path: Path) -> None:
    (scene / "walk" / "depth" / "000003.png").write_bytes(b"")
    broken = build_benchmark(configuration(scene, save_weights(tmp_path / "weights"), measures="[depth]"))
    (result,) = run_benchmark(broken, tmp_path / "out")
    assert result.row is None and "000003.png" in str(result.reason)
