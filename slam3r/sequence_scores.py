"""The three things that a recorded reconstruction of an RGB-D sequence is scored for: points, trajectory, depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.evaluation.benchmark import Row
from common.evaluation.figures import write_error_map, write_trajectory_plot
from common.evaluation.pointmaps import PointmapScore, PointsProtocol, score_pointmaps
from common.evaluation.sequence import RgbdSequence
from common.evaluation.truth import SequenceTruth
from common.metrics.depth_sequence import score_depth_sequence
from common.metrics.evo_trajectory import score_trajectory
from slam3r.evaluation_run import EvaluationRun

_IMAGES_AT_ONCE = 32


def points_row(run: EvaluationRun, truth: SequenceTruth, protocol: PointsProtocol, pictures: Path | None) -> Row:
    """Accuracy, completeness and F-scores; the error map where a folder is given."""
    found = score_pointmaps(run.points, run.confidence, truth, protocol)
    if pictures is not None:
        write_error_map(pictures, found.points, found.errors, truth.camera_to_world)
    return _points_columns(found)


def _points_columns(found: PointmapScore) -> Row:
    score = found.score
    return {
        "accuracy": score.accuracy,
        "completeness": score.completeness,
        "accuracy_median": score.accuracy_median,
        "completeness_median": score.completeness_median,
        "chamfer": score.chamfer,
        "completion_ratio_5cm": score.completion_ratio,
        **{f"f_{100 * threshold:g}cm": value for threshold, value in score.f_score.items()},
        "confident_share": found.num_confident / max(found.num_valid, 1),
        "aligned": "yes" if score.is_aligned else "no",
    }


def trajectory_row(run: EvaluationRun, sequence: RgbdSequence, pictures: Path | None) -> Row:
    """ATE and RPE by evo, over the frames that have a pose.

    Raises:
        ValueError: fewer than three have one.
    """
    posed = run.posed
    truth = sequence.camera_to_world[posed]
    score = score_trajectory(run.camera_to_world[posed], truth, sequence.timestamps[posed])
    if pictures is not None:
        times = sequence.timestamps[posed]
        up = -sequence.camera_to_world[:, :3, 1].mean(axis=0)
        file = pictures / "trajectory.png"
        write_trajectory_plot(file, times, score.centres, truth[:, :3, 3], score.errors, up)
    return {
        "ate_rmse": score.ate_rmse,
        "ate_mean": score.ate_mean,
        "ate_median": score.ate_median,
        "ate_max": score.ate_max,
        "rpe_translation": score.rpe_translation,
        "rpe_rotation": score.rpe_rotation,
        "path_length": score.path_length,
        "poses": len(posed),
    }


def depth_row(run: EvaluationRun, truth: SequenceTruth) -> Row:
    """Depth of the registered points, seen from the estimated camera of their own frame."""
    score = score_depth_sequence(_depths(run, truth))
    return {
        "depth_abs_rel": score.abs_rel,
        "depth_rmse": score.rmse,
        "depth_delta_1": score.delta_1,
        "depth_abs_rel_ls": score.abs_rel_ls,
        "depth_rmse_ls": score.rmse_ls,
        "depth_tau_1_ls": score.tau_1_ls,
        "depth_images": score.num_images,
    }


def _depths(run: EvaluationRun, truth: SequenceTruth) -> Iterator[tuple[NDArray, NDArray]]:
    posed = run.posed
    for start in range(0, len(posed), _IMAGES_AT_ONCE):
        chosen = posed[start : start + _IMAGES_AT_ONCE]
        points, poses = run.points[chosen], run.camera_to_world[chosen]
        # The camera's z axis in the world is the third column; depth is what lies along it from the centre.
        depth = np.einsum("nhwc,nc->nhw", points - poses[:, None, None, :3, 3], poses[:, :3, 2])
        depth[(points == 0).all(axis=-1)] = np.nan  # no point there
        yield depth.astype(np.float32), np.asarray(truth.depth[chosen])
