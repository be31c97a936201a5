"""Printed ArUco markers: their corners in pictures, and the length of their sides in a reconstructed world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigurationError

_LEAST_ANGLE = 1.0
"""Degrees between two rays of a corner, at least."""
_PAIRS = 300
"""Pairs of rays that propose a point, about."""


@dataclass(frozen=True)
class Sighting:
    """A marker in a picture."""

    marker: int
    """Its number in the dictionary."""
    corners: NDArray[np.float64]
    """(4, 2) pixels, clockwise from the top left one of the marker; the centre of the top left pixel is (0, 0)."""


@dataclass(frozen=True)
class MarkerSize:
    """Length of the markers' sides."""

    side: float
    """Median over all sides, unit of the world."""
    spread: float
    """Median relative difference of a side from it."""
    markers: int
    """Different markers that were measured."""
    sightings: int
    """Pictures of markers behind them."""


class MarkerFinder:
    """Finds the markers of a dictionary in pictures.

    Raises:
        ConfigurationError: OpenCV has no such dictionary.
    """

    def __init__(self, dictionary: str) -> None:
        number = getattr(cv2.aruco, dictionary, None) if dictionary.startswith("DICT_") else None
        if number is None:
            names = ", ".join(name for name in dir(cv2.aruco) if name.startswith("DICT_") and name.endswith("_50"))
            raise ConfigurationError(f"scale.dictionary={dictionary}: no such dictionary; there are {names} and others")
        parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        self._detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(number), parameters)

    def __call__(self, image: NDArray[np.uint8]) -> list[Sighting]:
        """The markers of a picture (H, W, 3) RGB; none that it shows twice."""
        corners, numbers, _ = self._detector.detectMarkers(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        if numbers is None:
            return []
        found = [Sighting(int(n), np.asarray(c, np.float64).reshape(4, 2)) for n, c in zip(numbers.ravel(), corners)]
        count = np.bincount([sighting.marker for sighting in found])
        return [sighting for sighting in found if count[sighting.marker] == 1]


def measure_markers(
    sightings: Sequence[Sequence[Sighting]],
    camera_to_world: NDArray[np.float64],
    rays: Sequence[Sequence[NDArray[np.float64]]],
) -> MarkerSize | None:
    """Triangulate the markers' corners and measure their sides.

    Args:
        sightings: in each of N pictures.
        camera_to_world: (N, 4, 4), NaN for pictures without a pose.
        rays: (4, 3) viewing rays of each sighting's corners, in camera axes.

    Returns:
        None where no marker was seen from two places.
    """
    seen: dict[int, list[tuple[NDArray, NDArray]]] = {}
    for frame, (found, directions) in enumerate(zip(sightings, rays)):
        pose = camera_to_world[frame]
        if not np.isfinite(pose).all():
            continue
        for sighting, own in zip(found, directions):
            turned = own @ pose[:3, :3].T
            turned = turned / np.linalg.norm(turned, axis=1, keepdims=True)
            seen.setdefault(sighting.marker, []).append((pose[:3, 3], turned))
    sides, markers, total = [], 0, 0
    for views in seen.values():
        centres = np.array([centre for centre, _ in views])
        corners = [triangulate(centres, np.array([directions[k] for _, directions in views])) for k in range(4)]
        if any(corner is None for corner in corners):
            continue
        square = np.array(corners)
        sides.extend(np.linalg.norm(square - np.roll(square, 1, axis=0), axis=1))
        markers, total = markers + 1, total + len(views)
    if not sides:
        return None
    side = float(np.median(sides))
    return MarkerSize(side, float(np.median(np.abs(np.array(sides) / side - 1))), markers, total)


def triangulate(centres: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The point nearest to most of K rays: the best of all pairs' points by its median angle, then least squares.

    Args:
        centres: (K, 3).
        directions: (K, 3) unit vectors.

    Returns:
        (3,); None where the rays are nearly parallel or fewer than two.
    """
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]

    def nearest(rays: list[int] | NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        matrices = weights[:, None, None] * across[rays]
        return np.linalg.solve(matrices.sum(axis=0), np.einsum("kij,kj->i", matrices, centres[rays]))

    def errors(point: NDArray[np.float64]) -> NDArray[np.float64]:
        offset = point - centres
        beside = np.linalg.norm(np.einsum("kij,kj->ki", across, offset), axis=1)
        return np.arctan2(beside, np.einsum("kj,kj->k", directions, offset))

    apart = np.degrees(np.arccos(np.clip(directions @ directions.T, -1, 1)))
    pairs = np.argwhere(np.triu(apart >= _LEAST_ANGLE))
    pairs = pairs[:: max(1, len(pairs) // _PAIRS)]
    points = [nearest(pair, np.ones(2)) for pair in pairs]
    if not points:
        return None
    point = min(points, key=lambda candidate: float(np.median(errors(candidate))))
    error = errors(point)
    agreeing = np.flatnonzero(error <= 3 * np.median(error) + 1e-9)
    distance = np.linalg.norm(point - centres[agreeing], axis=1)
    return nearest(agreeing, 1 / np.maximum(distance, 1e-12) ** 2)
