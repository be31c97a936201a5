"""Scores of a recorded reconstruction of an RGB-D sequence: points, trajectory, depth."""

from __future__ import annotations

from dataclasses import replace
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
from common.metrics.trajectory import mean_rotation_error
from slam3r.evaluation.recorded_run import EvaluationRun

FEWEST_POSES = 3
"""Fewest poses for an alignment of paths."""


def points_row(run: EvaluationRun, truth: SequenceTruth, protocol: PointsProtocol, pictures: Path | None) -> Row:
    """Accuracy, completeness and F-scores; the error map if a folder is given."""
    found = score_pointmaps(run.points, run.confidence, truth, protocol, valid=run.valid)
    if pictures is not None:
        write_error_map(pictures, found.points, found.score.to_truth, truth.camera_to_world)
    return _points_columns(found)


def _points_columns(found: PointmapScore) -> Row:
    score = found.score
    return {
        "accuracy": score.accuracy,
        "completeness": score.completeness,
        "accuracy_median": score.accuracy_median,
        "completeness_median": score.completeness_median,
        "accuracy_p90": score.accuracy_p90,
        "completeness_p90": score.completeness_p90,
        "chamfer": score.chamfer,
        "completion_ratio_5cm": score.completion_ratio,
        **{f"f_{100 * threshold:g}cm": value for threshold, value in score.f_score.items()},
        "confident_share": found.num_confident / max(found.num_valid, 1),
        "aligned": "yes" if score.is_aligned else "no",
    }


def protocol_for(run: EvaluationRun, protocol: PointsProtocol) -> PointsProtocol:
    """Protocol with the threshold of the run: of a refined one, points confirmed by other views count.

    A threshold of 0 (all points) is kept.
    """
    return replace(protocol, confidence=run.threshold) if run.refined and protocol.confidence > 0 else protocol


def focal_row(focal: NDArray[np.float64], sequence: RgbdSequence) -> Row:
    """Error of the focal length, as a share of the true one; median over frames."""
    truth = sequence.intrinsics[:, [0, 1], [0, 1]].mean(axis=1)
    return {"focal_error": float(np.median(focal / truth - 1))}


def path_row(camera_to_world: NDArray[np.float64], sequence: RgbdSequence, pictures: Path | None) -> Row:
    """ATE and RPE by evo, over the frames that have a pose; only their number if fewer than three do."""
    posed = np.flatnonzero(np.isfinite(camera_to_world).all(axis=(1, 2)))
    if len(posed) < FEWEST_POSES:
        return {"ate_rmse": None, "poses": len(posed)}
    truth = sequence.camera_to_world[posed]
    score = score_trajectory(camera_to_world[posed], truth, sequence.timestamps[posed])
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
        "rotation_error": mean_rotation_error(camera_to_world[posed], truth),
        "rpe_translation": score.rpe_translation,
        "rpe_rotation": score.rpe_rotation,
        "path_length": score.path_length,
        "poses": len(posed),
    }


def depth_row(run: EvaluationRun, truth: SequenceTruth) -> Row:
    """Depth of the registered points, seen from the estimated camera of their own frame; no figure without poses."""
    posed = np.intersect1d(run.posed, run.mapped)
    if len(posed) == 0:
        return {"depth_abs_rel_ls": None, "depth_abs_rel": None, "depth_images": 0}
    score = score_depth_sequence(lambda index: _depth_pair(run, truth, posed[index]), len(posed))
    return {
        "depth_abs_rel_ls": score.abs_rel_ls,
        "depth_rmse_ls": score.rmse_ls,
        "depth_tau_1_ls": score.tau_1_ls,
        "depth_abs_rel": score.abs_rel,
        "depth_rmse": score.rmse,
        "depth_delta_1": score.delta_1,
        "depth_images": score.num_images,
    }


def _depth_pair(run: EvaluationRun, truth: SequenceTruth, frame: int) -> tuple[NDArray, NDArray]:
    """Depth (h, w) of a frame's registered points along its estimated camera's z axis, NaN for none, and the true."""
    points, pose = run.points[frame], run.camera_to_world[frame]
    depth = points.astype(np.float64) @ pose[:3, 2] - pose[:3, 3] @ pose[:3, 2]
    depth[~run.valid[frame]] = np.nan
    return depth.astype(np.float32), truth.depth[frame]
