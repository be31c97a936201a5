"""Pose of a new picture in a finished run: candidates, matches, points of the run, and a pose that most agree on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.data.sources.frame_source import Frame
from common.geometry.colmap_backend import pycolmap_module
from common.refinement.matching.backend import colmap_camera, pose_from_rigid, silence
from common.refinement.matching.features import Features
from common.refinement.matching.pair_matching import match_pairs, occupied_cells
from common.refinement.projection import pixel_unit, project
from common.refinement.types import Camera
from slam3r.continuation.candidates import rank_pairs
from slam3r.continuation.landmarks import Landmarks, find_features
from slam3r.continuation.query_camera import Origin, QueryCamera, QueryCameras
from slam3r.continuation.settings import PlacingSettings

_SEED = 0
_SURE_INLIERS, _SURE_CELLS, _SURE_PICTURES = 60, 8, 2
_DOUBTFUL, _BETTER = 0.8, 1.2
"""Share of matched points below which a picture may be of another camera than the run's, though it has its size; and
the factor by which a focal length of its own must raise their number."""
_FIELD_OF_VIEW = (20.0, 130.0)  # degrees along the longer side that an estimated focal length may mean


@dataclass(frozen=True)
class Placed:
    """A picture with its pose, or the reason why it has none."""

    name: str
    size: tuple[int, int]
    """(height, width) of the picture."""
    camera_to_world: NDArray[np.float64] | None = None
    """(4, 4) OpenCV axes, in the run's world; None where it is refused."""
    refused: str = ""
    """The reason, in one line; empty where there is a pose."""
    focal: float | None = None
    """Focal length along x, pixels of the picture."""
    focal_by: Origin = "estimated"
    inliers: int = 0
    """Points of the run that the picture shows where the pose says."""
    matched: int = 0
    """Points of the run that were matched at all."""
    cells: int = 0
    """Cells of a grid of eight along the longer side that hold two inliers or more."""
    error: float | None = None
    """Median distance of the inliers from where they are expected, working pixels (long side at most 1024)."""
    pictures: tuple[str, ...] = ()
    """Pictures of the run that hold inliers, those with most first."""

    @property
    def confidence(self) -> str:
        """high, low, or refused."""
        if self.camera_to_world is None:
            return "refused"
        sure = self.inliers >= _SURE_INLIERS and self.cells >= _SURE_CELLS and len(self.pictures) >= _SURE_PICTURES
        return "high" if sure else "low"

    def sentence(self) -> str:
        """One line for the user."""
        if self.camera_to_world is None:
            return f"{self.name}: refused: {self.refused}"
        x, y, z = self.camera_to_world[:3, 3]
        return (
            f"{self.name}: at ({x:.3f}, {y:.3f}, {z:.3f}), confidence {self.confidence}: {self.inliers} of "
            f"{self.matched} points of {len(self.pictures)} pictures agree within {self.error:.1f} px (median)"
        )


@dataclass(frozen=True)
class _Matched:
    """Pixels of a new picture and points of the run."""

    xy: NDArray[np.float64]
    points: NDArray[np.float64]
    row: NDArray[np.int64]
    """Picture of the run that each came by."""


class Localizer:
    """Places pictures in a run.

    Args:
        landmarks: of the run.
        cameras: of the new pictures.
        settings: thresholds.
    """

    def __init__(self, landmarks: Landmarks, cameras: QueryCameras, settings: PlacingSettings) -> None:
        self._landmarks, self._cameras, self._settings = landmarks, cameras, settings
        self._points: Callable[[int], NDArray[np.float64]] = lru_cache(maxsize=256)(landmarks.points)

    def place(self, frame: Frame) -> Placed:
        """Place a picture, or say why not."""
        settings, original = self._settings, (int(frame.image.shape[0]), int(frame.image.shape[1]))
        features, size = find_features(frame.image, frame.name, settings.matching)
        query = self._cameras.of(frame.name, frame.path, original, size)
        nothing = Placed(frame.name, original, focal_by=query.origin)
        with silence():
            matched = self._match(features, query)
            if len(matched.xy) < settings.min_inliers:
                return _refused(nothing, self._why_unmatched(len(features), len(matched.xy)))
            placed = self._solve(nothing, matched, query)
            if query.origin == "run" and placed.inliers < _DOUBTFUL * placed.matched:
                other = self._solve(replace(nothing, focal_by="estimated"), matched, query.of_unknown_focal())
                if other.camera_to_world is not None and other.inliers > _BETTER * placed.inliers:
                    return other
        return placed

    def _why_unmatched(self, features: int, matched: int) -> str:
        if features < self._settings.min_inliers:
            return f"it shows {features} features, too few to be recognized by (blank, dark or blurred)"
        if not matched:
            return f"none of the {len(self._landmarks.frames)} pictures of the run shows the same"
        return f"{matched} points of the run were matched, {self._settings.min_inliers} are needed"

    def _match(self, features: Features, query: QueryCamera) -> _Matched:
        """Points of the run by verified matches with the best candidates."""
        settings, seen = self._settings, self._landmarks.seen
        pairs = rank_pairs([features], [one.features for one in seen], settings.matching.ratio, settings.candidates)
        rows = [row for _, row in pairs]
        # Without a known focal length, pairs are verified by a fundamental matrix, which needs none.
        cameras = [query.camera, *(seen[row].camera for row in rows)]
        matches = match_pairs(
            [features, *(seen[row].features for row in rows)],
            [(0, number + 1) for number in range(len(rows))],
            cameras,
            settings.matching,
            seed=_SEED,
        )
        xy, points, row = [], [], []
        for pair in matches:
            place = self._points(rows[pair.second - 1])[pair.rows[:, 1]]
            known = np.isfinite(place).all(axis=1)
            xy.append(features.xy[pair.rows[known, 0]])
            points.append(place[known])
            row.append(np.full(int(known.sum()), rows[pair.second - 1]))
        if not xy:
            return _Matched(np.empty((0, 2)), np.empty((0, 3)), np.empty(0, np.int64))
        return _Matched(np.concatenate(xy), np.concatenate(points), np.concatenate(row))

    def _solve(self, nothing: Placed, matched: _Matched, query: QueryCamera) -> Placed:
        settings = self._settings
        found = _absolute_pose(matched, query, settings.max_error * pixel_unit(query.camera))
        if found is None:
            unplaced = replace(nothing, matched=len(np.unique(matched.xy, axis=0)))
            return _refused(unplaced, f"no pose explains the {len(matched.xy)} matched points")
        pose, camera, inlier = found
        per_picture = np.bincount(matched.row[inlier], minlength=len(self._landmarks.frames))
        order = [row for row in np.argsort(-per_picture, kind="stable") if per_picture[row] > 0]
        scale = nothing.size[1] / camera.size[1]
        error = _errors(matched, camera, pose)[inlier]
        placed = Placed(
            nothing.name,
            nothing.size,
            pose,
            focal=scale * camera.fx,
            focal_by=query.origin,
            inliers=len(np.unique(matched.xy[inlier], axis=0)),
            matched=len(np.unique(matched.xy, axis=0)),
            cells=occupied_cells(np.unique(matched.xy[inlier], axis=0), camera.size),
            error=float(np.median(error)) if len(error) else None,
            pictures=tuple(self._landmarks.frames[row].name for row in order),
        )
        fault = _fault(placed, camera, settings)
        return placed if fault is None else _refused(placed, fault)


def _fault(placed: Placed, camera: Camera, settings: PlacingSettings) -> str | None:
    """The reason why a pose is not believed; None where it is."""
    if placed.inliers < settings.min_inliers:
        return f"{placed.inliers} points agree on a pose, {settings.min_inliers} are needed"
    ratio = placed.inliers / placed.matched
    if ratio < settings.min_ratio:
        return (
            f"{ratio:.0%} of the {placed.matched} matched points agree on a pose, {settings.min_ratio:.0%} are needed"
        )
    if placed.cells < settings.min_cells:
        return (
            f"its {placed.inliers} points lie together in {placed.cells} cells of the picture, "
            f"{settings.min_cells} are needed"
        )
    angle = float(np.degrees(2 * np.arctan(max(camera.size) / 2 / camera.focal)))
    if not _FIELD_OF_VIEW[0] < angle < _FIELD_OF_VIEW[1]:
        return f"its focal length would mean a view of {angle:.0f} degrees; focal=... gives it in pixels"
    return None


def _refused(placed: Placed, reason: str) -> Placed:
    return replace(placed, camera_to_world=None, refused=reason)


def _absolute_pose(
    matched: _Matched, query: QueryCamera, max_error: float
) -> tuple[NDArray[np.float64], Camera, NDArray[np.bool_]] | None:
    """Camera-to-world pose by RANSAC and refinement, the camera with its focal length, and (M,) the points that agree;
    None where nothing does."""
    pycolmap = pycolmap_module()
    camera = colmap_camera(query.camera, 1)
    estimation, refinement = pycolmap.AbsolutePoseEstimationOptions(), pycolmap.AbsolutePoseRefinementOptions()
    estimation.ransac.max_error = max_error
    estimation.ransac.random_seed = _SEED
    estimation.ransac.min_inlier_ratio = 0.05
    estimation.estimate_focal_length = refinement.refine_focal_length = not query.is_known
    refinement.loss_function_scale = max_error / 4
    found: dict[str, Any] | None = pycolmap.estimate_and_refine_absolute_pose(
        np.ascontiguousarray(matched.xy), np.ascontiguousarray(matched.points), camera, estimation, refinement
    )
    if found is None:
        return None
    pose = pose_from_rigid(found["cam_from_world"])
    focal_x, focal_y = camera.focal_length_x, camera.focal_length_y
    own = query.camera
    refined = Camera(focal_x, focal_y, own.cx, own.cy, own.size, own.k1)
    if not np.isfinite(pose).all() or not np.isfinite(focal_x):
        return None
    return pose, refined, _errors(matched, refined, pose) <= max_error


def _errors(matched: _Matched, camera: Camera, pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M,) distance of each point from its pixel, working pixels; infinite behind the camera."""
    local = (matched.points - pose[:3, 3]) @ pose[:3, :3]
    with np.errstate(invalid="ignore", divide="ignore"):
        pixels = project(camera, torch.from_numpy(local)).numpy()
        distance = np.linalg.norm(pixels - matched.xy, axis=1)
    return np.where((local[:, 2] > 0) & np.isfinite(distance), distance, np.inf)
