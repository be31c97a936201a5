"""Trajectory errors by evo (Grupp 2017, github.com/MichaelGrupp/evo), the standard tool of the field.

`common.metrics.trajectory` computes the same without a further package; tests check that they agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from common.errors import ConfigurationError


@dataclass(frozen=True)
class TrajectoryScore:
    """ATE and RPE after alignment of the camera centres, unit of the truth."""

    ate_rmse: float
    ate_mean: float
    ate_median: float
    ate_max: float
    rpe_translation: float
    """RMSE of the motion from each pose to the next one."""
    rpe_rotation: float
    """Degrees."""
    scale: float
    """Scale of the alignment, truth unit per unit of the estimate."""
    path_length: float
    """Length of the true trajectory, unit of the truth."""
    centres: NDArray[np.float64]
    """(N, 3) aligned camera centres of the estimate."""
    errors: NDArray[np.float64]
    """(N,) their distances to the true ones."""


def score_trajectory(
    estimate: NDArray, truth: NDArray, timestamps: NDArray, with_scale: bool = True
) -> TrajectoryScore:
    """Align by Umeyama and compare.

    Args:
        estimate: (N, 4, 4) camera-to-world, any unit unless `with_scale` is off.
        truth: (N, 4, 4) camera-to-world of the same instants.
        timestamps: (N,) seconds, increasing.
        with_scale: align by a similarity, as monocular systems need it, or by a rigid motion.

    Raises:
        ConfigurationError: evo is not installed.
        ValueError: fewer than three poses, or centres that do not determine an alignment.
    """
    try:
        from evo.core import metrics
        from evo.core.geometry import GeometryException
    except ImportError as error:
        raise ConfigurationError(f"trajectories are scored by evo: bash scripts/setup.sh eval ({error})") from None
    if len(estimate) < 3:
        raise ValueError(f"a trajectory needs 3 poses to be aligned, got {len(estimate)}")
    path, reference = _trajectory(estimate, timestamps), _trajectory(truth, timestamps)
    try:
        _, _, scale = path.align(reference, correct_scale=with_scale)
    except GeometryException as error:
        raise ValueError(f"the camera centres do not determine an alignment: {error}") from None
    absolute = metrics.APE(metrics.PoseRelation.translation_part)
    absolute.process_data((reference, path))
    statistics = absolute.get_all_statistics()
    relative = []
    for relation in (metrics.PoseRelation.translation_part, metrics.PoseRelation.rotation_angle_deg):
        error_of = metrics.RPE(relation, delta=1, delta_unit=metrics.Unit.frames)
        error_of.process_data((reference, path))
        relative.append(float(error_of.get_statistic(metrics.StatisticsType.rmse)))
    return TrajectoryScore(
        ate_rmse=float(statistics["rmse"]),
        ate_mean=float(statistics["mean"]),
        ate_median=float(statistics["median"]),
        ate_max=float(statistics["max"]),
        rpe_translation=relative[0],
        rpe_rotation=relative[1],
        scale=float(scale),
        path_length=float(reference.path_length),
        centres=np.asarray(path.positions_xyz),
        errors=np.asarray(absolute.error),
    )


def _trajectory(poses: NDArray, timestamps: NDArray):
    from evo.core.trajectory import PoseTrajectory3D

    poses = np.asarray(poses, np.float64)
    quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat()[:, [3, 0, 1, 2]]  # evo puts w first
    return PoseTrajectory3D(poses[:, :3, 3].copy(), quaternions, np.asarray(timestamps, np.float64))
