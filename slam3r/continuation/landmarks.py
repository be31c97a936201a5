"""Local features of a run's pictures, and the points of its world that they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from common.data.sources.images import read_image
from common.errors import InputError
from common.refinement.matching.backend import usable_threads
from common.refinement.matching.features import Features, SiftExtractor
from common.refinement.pictures import working_picture
from common.refinement.projection import project, working_rays
from common.refinement.settings import CameraSettings, MatchingSettings
from common.refinement.types import Camera
from slam3r.continuation.finished_run import FinishedRun, RunFrame

LONG_SIDE = CameraSettings.long_side
_NEIGHBOURS = 8
_REACH = 1 / 150
"""Distance from a feature to a projected point, over the picture's longer side, at most: 1.5 pixels of the network."""
_SAME_SURFACE = 0.03
"""Relative depth within which points lie on one surface."""
_DENSE = 400_000
"""Points of a picture that are searched, at most: more than there are pixels add nothing."""
_FEWEST = 3
"""Points on the nearest surface that a feature needs."""


@dataclass(frozen=True)
class SeenFeatures:
    """Features of one picture."""

    features: Features
    """In working pixels."""
    camera: Camera
    """Pixels of the working picture."""


@dataclass(frozen=True)
class Landmarks:
    """Pictures of a run with their features; the points that they show are looked up when they are asked for."""

    run: FinishedRun
    frames: Sequence[RunFrame]
    seen: Sequence[SeenFeatures]

    def points(self, row: int) -> NDArray[np.float64]:
        """(K, 3) points in the run's world that the features of a picture show; NaN where it has none."""
        frame, seen = self.frames[row], self.seen[row]
        depth = depth_at(seen.features.xy, seen.camera, frame.camera_to_world, self.run.points.points)
        rays = working_rays(seen.camera, torch.from_numpy(seen.features.xy)).numpy()
        pose = frame.camera_to_world
        return (rays * depth[:, None]) @ pose[:3, :3].T + pose[:3, 3]


def find_features(image: NDArray[np.uint8], name: str, settings: MatchingSettings) -> tuple[Features, tuple[int, int]]:
    """Features of a picture (H, W, 3), and the (height, width) of the working picture whose pixels they are in."""
    picture = working_picture(image, torch.eye(3, dtype=torch.float64), 0, name, LONG_SIDE)
    return SiftExtractor(settings.contrast)(picture, settings.max_features), picture.size


def find_landmarks(
    run: FinishedRun, most: int, settings: MatchingSettings, progress: Callable[[float], None] = lambda share: None
) -> Landmarks:
    """Features of a run's pictures.

    Args:
        run: with pictures in files.
        most: pictures that are read, at most, at even distances.
        settings: of the features.
        progress: told the share that is done.

    Raises:
        InputError: a picture cannot be read, or is another one than in the run.
    """
    frames = run.evenly(most)
    seen: list[SeenFeatures] = []

    def look(frame: RunFrame) -> SeenFeatures:
        image = read_image(frame.file)
        if image.shape[:2] != frame.size:
            height, width = frame.size
            raise InputError(f"{frame.file} has changed since the run: expected {width} x {height} pixels")
        features, size = find_features(image, frame.name, settings)
        return SeenFeatures(features, frame.camera(size))

    with ThreadPoolExecutor(usable_threads(None)) as pool:
        for one in pool.map(look, frames):
            seen.append(one)
            progress(len(seen) / len(frames))
    return Landmarks(run, frames, seen)


def depth_at(
    xy: NDArray[np.float64], camera: Camera, camera_to_world: NDArray[np.float64], points: NDArray
) -> NDArray[np.float64]:
    """Depth along the optical axis at some pixels of a picture, by the points of a cloud.

    Points of several surfaces project beside a pixel; what the picture shows is the nearest surface that has a few of
    them. Pixels beside which there are few points, or whose nearest points disagree, have no depth.

    Args:
        xy: (K, 2) working pixels.
        camera: of the working picture.
        camera_to_world: (4, 4).
        points: (P, 3) world.

    Returns:
        (K,), NaN where it is unknown.
    """
    depth = np.full(len(xy), np.nan)
    local = (points.astype(np.float64) - camera_to_world[:3, 3]) @ camera_to_world[:3, :3]
    local = local[local[:, 2] > 0]
    pixels = project(camera, torch.from_numpy(local)).numpy()
    height, width = camera.size
    inside = ((pixels > -1) & (pixels < [width, height])).all(axis=1)
    if not len(xy) or inside.sum() < _NEIGHBOURS:
        return depth
    rows = np.flatnonzero(inside)[:: -(-int(inside.sum()) // _DENSE)]
    pixels, distance = pixels[rows], local[rows, 2]
    reach = _REACH * max(camera.size)
    _, near = cKDTree(pixels).query(xy, k=3 * _NEIGHBOURS, distance_upper_bound=reach)
    found = np.where(near < len(pixels), distance[np.minimum(near, len(pixels) - 1)], np.nan)
    with np.errstate(invalid="ignore"):
        ordered = np.sort(found, axis=1)  # NaN last
        nearest = ordered[:, _FEWEST - 1 : _FEWEST]  # a single point before a surface is an outlier
        surface = np.where(np.abs(ordered / nearest - 1) < _SAME_SURFACE, ordered, np.nan)
    good = np.isfinite(surface).sum(axis=1) >= _FEWEST
    depth[good] = np.nanmedian(surface[good], axis=1)
    return depth
