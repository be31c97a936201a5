"""Points drawn as discs into a depth buffer, on the CPU, vectorised.

Disc sizes follow the local spacing of the points. Pinholes are closed, and edges can be darkened by
comparing log depths with the neighbourhood (eye-dome lighting, Boucheny 2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from common.drawing.settings import Color

NEIGHBOURS = 16
SAMPLE_SIZE = 100_000  # points of the sample that represents a large cloud
_SUPERSAMPLING = 2
_COVERAGE = 1.1  # splat radius per spacing that covers 98 % of a randomly sampled surface
_SPLAT_RADII = (0.6, 8.0)  # pixels of the supersampled picture
_FULL_HEIGHT = 1440  # height of a supersampled picture in which discs may be that large


@dataclass(frozen=True)
class SurfaceCloud:
    """Points with local surface information, computed on a sample of them."""

    points: NDArray
    """(P, 3)."""
    colors: NDArray
    """(P, 3) uint8 RGB."""
    spacing: NDArray
    """(P,) distance between neighbours on the surface; large for an isolated point."""
    owner: NDArray
    """(P,) index of the nearest point of the sample."""
    sample: NDArray
    """(S, 3)."""
    neighbours: NDArray
    """(S, K) indices into the sample."""

    def __getitem__(self, keep: NDArray) -> SurfaceCloud:
        parts = (self.points[keep], self.colors[keep], self.spacing[keep], self.owner[keep])
        return SurfaceCloud(*parts, self.sample, self.neighbours)


def make_cloud(points: ArrayLike, colors: ArrayLike, sample_size: int = SAMPLE_SIZE) -> SurfaceCloud:
    """Cloud of points (..., 3), those that are not finite left out, with colours (..., 3) uint8 RGB."""
    cloud, shades = np.asarray(points, np.float32).reshape(-1, 3), np.asarray(colors, np.uint8).reshape(-1, 3)
    finite = np.isfinite(cloud).all(axis=1)
    cloud, shades = cloud[finite], shades[finite]
    count = min(NEIGHBOURS, len(cloud))
    if count < 2:
        return SurfaceCloud(cloud, shades, np.zeros(count), np.zeros(count, int), cloud, np.zeros((count, 1), int))
    sample = draw_sample(cloud, sample_size)
    tree = cKDTree(sample)
    distances, neighbours = tree.query(sample, k=count)
    # With one point per a * a, count = pi r^2 / a^2 neighbours lie within r; the cloud is denser than its sample.
    spacing = distances[:, -1] * np.sqrt(np.pi / count * len(sample) / len(cloud))
    if len(sample) == len(cloud):
        return SurfaceCloud(cloud, shades, spacing, np.arange(len(cloud)), sample, neighbours)
    distance, owner = tree.query(cloud)
    lonely = distance > 2 * distances[owner, -1]
    return SurfaceCloud(cloud, shades, np.where(lonely, distance, spacing[owner]), owner, sample, neighbours)


def draw_sample(points: NDArray, count: int = SAMPLE_SIZE) -> NDArray:
    """At most `count` of the points (P, 3), always the same ones."""
    if len(points) <= count:
        return points
    return points[np.random.default_rng(0).choice(len(points), count, replace=False, shuffle=False)]


def supersampled(intrinsics: NDArray) -> NDArray[np.float64]:
    """Intrinsics of the supersampled picture; pixel centres are at whole numbers before and after."""
    scaled = intrinsics * np.array([[_SUPERSAMPLING], [_SUPERSAMPLING], [1.0]])
    scaled[:2, 2] += (_SUPERSAMPLING - 1) / 2
    return scaled


def render(
    cloud: SurfaceCloud,
    pose: NDArray,
    intrinsics: NDArray,
    size: tuple[int, int],
    background: Color,
    shading: float,
) -> NDArray[np.uint8]:
    """Supersampled picture.

    Args:
        cloud: from `make_cloud`.
        pose: (4, 4) camera-to-world, OpenCV axes.
        intrinsics: (3, 3), pixels, before supersampling.
        size: (height, width) before supersampling.
        background: RGB.
        shading: strength of the edge darkening, 0 for none.

    Returns:
        (2 * height, 2 * width, 3) uint8 RGB.
    """
    height, width = size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING
    image = np.full((height, width, 3), background, np.uint8)
    local = (cloud.points - pose[:3, 3]) @ pose[:3, :3]
    front = local[:, 2] > 1e-6
    local, colors, spacing = local[front], cloud.colors[front], cloud.spacing[front]
    if len(local) == 0:
        return image
    matrix = supersampled(intrinsics)
    pixels = local @ matrix.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    spacing = np.minimum(spacing, 6 * np.median(spacing))  # no blobs for isolated points
    largest = np.clip(
        _SPLAT_RADII[1] * height / _FULL_HEIGHT, 3.0, _SPLAT_RADII[1]
    )  # noise stays fine in small pictures
    radius = np.clip(_COVERAGE * spacing * matrix[0, 0] / local[:, 2], _SPLAT_RADII[0], largest)
    owner = _splat(pixels, local[:, 2], radius, (height, width))
    covered = owner >= 0
    image[covered] = colors[owner[covered]]
    depth = np.full((height, width), np.inf, np.float32)
    depth[covered] = local[owner[covered], 2]
    _fill_gaps(image, depth)
    if shading > 0:
        _darken_edges(image, depth, shading)
    return image


def _splat(pixels: NDArray, depth: NDArray, radius: NDArray, size: tuple[int, int]) -> NDArray[np.int64]:
    """(H, W) index of the nearest point that covers each pixel, -1 for none; a point covers a disc."""
    height, width = size
    margin = radius[:, None]
    inside = np.flatnonzero(((pixels > -margin) & (pixels < np.array([width, height]) + margin)).all(axis=1))
    by_depth = inside[np.argsort(depth[inside])]  # the nearest point is the one of least rank
    order = np.argsort(-radius[by_depth])  # sort so that points whose disc covers the pixel come first
    column, row = np.rint(pixels[by_depth[order]]).astype(np.int64).T
    ranks, reach = torch.from_numpy(order), radius[by_depth[order]]
    buffer = torch.full((height * width,), len(order), dtype=torch.int64)
    steps = np.arange(-int(_SPLAT_RADII[1]), int(_SPLAT_RADII[1]) + 1)
    for dy in steps:
        for dx in steps:
            count = int(np.searchsorted(-reach, -np.hypot(dx, dy), side="right"))
            x, y = column[:count] + dx, row[:count] + dy
            hit = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            index = torch.from_numpy((y * width + x)[hit])
            buffer.scatter_reduce_(0, index, ranks[:count][torch.from_numpy(hit)], "amin")
    return np.append(by_depth, -1)[buffer.numpy()].reshape(height, width)


def _fill_gaps(image: NDArray, depth: NDArray, rounds: int = 4) -> None:
    """Close pinholes, in place: an empty pixel with at least 4 of 8 covered neighbours takes their mean."""
    kernel = np.ones((3, 3), np.float32)
    for _ in range(rounds):
        covered = np.isfinite(depth)
        count = cv2.filter2D(covered.astype(np.float32), -1, kernel, borderType=cv2.BORDER_CONSTANT)
        gaps = ~covered & (count >= 4)
        for plane in (*np.moveaxis(image, -1, 0), depth):
            total = cv2.filter2D(np.where(covered, plane, 0).astype(np.float32), -1, kernel, borderType=0)
            plane[gaps] = (total[gaps] / count[gaps]).astype(plane.dtype)


def _darken_edges(image: NDArray, depth: NDArray, strength: float) -> None:
    """Eye-dome lighting, in place: a pixel is darkened by how far it lies behind its neighbours."""
    covered = np.isfinite(depth)
    log_depth = np.where(covered, np.log(np.where(covered, depth, 1)), np.inf).astype(np.float32)
    total = np.zeros_like(log_depth)
    for step in (2, 5):
        padded = np.pad(log_depth, step, mode="edge")
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            rows = slice(step * (1 + dy), step * (1 + dy) + depth.shape[0])
            columns = slice(step * (1 + dx), step * (1 + dx) + depth.shape[1])
            neighbour = padded[rows, columns]
            with np.errstate(invalid="ignore"):  # inf - inf, outside of what is covered
                total += np.clip(log_depth - neighbour, 0, 0.08)
    shade = np.exp(-strength * 40 / 16 * total)
    image[covered] = (image[covered] * np.maximum(shade, 0.35)[covered, None]).astype(np.uint8)
