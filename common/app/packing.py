"""The binary format that the viewer (``assets/viewer.js``) draws."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.app.contract import Before, Cloud, Splats
from common.drawing.seen_sides import smooth_normals
from common.export.mesh import Mesh, frusta_lines
from common.geometry.up_axis import find_up, level_direction

_BLUE, _RED = np.array([38.0, 110, 230]), np.array([235.0, 70, 50])
_MAX_POINTS, _MAX_POINTS_BEFORE = 1_000_000, 500_000
_NORMALS, _LIVE_NORMALS = 50_000, 10_000
"""Points whose neighbourhood is looked at, of a finished and of a growing scene."""
_BEFORE = "before_"
"""Beginning of the names of arrays that show the scene before refinement."""


@dataclass
class Drawn:
    """Kinds of data to draw."""

    cloud: Cloud
    cameras: ArrayLike
    """(N, 4, 4) camera-to-world."""
    thresholds: Sequence[float]
    """Confidence that points exceed, for each step of the control (`common.app.levels`)."""
    splats: Splats | None = None
    """One per point of the cloud."""
    mesh: Mesh | None = None
    before: Before | None = None
    """The scene before refinement, of which all points are shown."""


def pack(version: str, drawn: Drawn, *, final: bool) -> bytes:
    """A scene for the viewer: length of the header (uint32), header (JSON), arrays, all little endian.

    The header names type and shape of the arrays in their order; each begins at a multiple of 4 bytes. Arrays of the
    scene before refinement have the names of the others, after ``before_``.
    """
    poses = np.asarray(drawn.cameras, np.float64).reshape(-1, 4, 4)
    points, confidence = drawn.cloud.points[:_MAX_POINTS], drawn.cloud.confidence[:_MAX_POINTS]
    low, high = _extent(points, poses)
    size = float(np.linalg.norm(high - low)) or 1.0
    sample = _NORMALS if final else _LIVE_NORMALS
    arrays = _cloud_arrays(drawn.cloud, poses, _MAX_POINTS, sample) | _camera_lines(poses, size)
    if drawn.before is not None:
        cameras = np.asarray(drawn.before.cameras, np.float64).reshape(-1, 4, 4)
        before = _cloud_arrays(drawn.before.cloud, cameras, _MAX_POINTS_BEFORE, sample) | _camera_lines(cameras, size)
        arrays |= {f"{_BEFORE}{name}": array for name, array in before.items()}
    arrays |= _surface_arrays(drawn.splats, drawn.mesh)
    up = find_up(poses) if len(poses) else np.array([0.0, -1, 0])
    header: dict[str, Any] = {
        "version": version,
        "final": final,
        "center": ((low + high) / 2).tolist(),
        "size": size,
        "up": up.tolist(),
        "forward": (level_direction(poses, up) if len(poses) else np.array([0.0, 0, 1])).tolist(),
        "thresholds": list(drawn.thresholds),
        "confidence": np.quantile(confidence, [0.02, 0.98]).tolist() if len(confidence) else [1, 2],
        "arrays": [[name, array.dtype.str[1:], list(array.shape)] for name, array in arrays.items()],
    }
    text = json.dumps(header, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    return len(text).to_bytes(4, "little") + text + body


def _cloud_arrays(cloud: Cloud, poses: NDArray[np.float64], most: int, sample: int) -> dict[str, NDArray]:
    """Points with what the shaders need of them; the first `most`."""
    points = cloud.points[:most]
    arrays: dict[str, NDArray] = {
        "points": points.astype("<f4"),
        "colors": _padded(cloud.colors[:most]),
        "confidence": cloud.confidence[:most].astype("<f4"),
    }
    if len(poses):
        normals = smooth_normals(points, poses[:, :3, 3], sample)
        arrays["normals"] = np.pad(np.rint(127 * normals), ((0, 0), (0, 1))).astype("i1")
    return arrays


def _surface_arrays(splats: Splats | None, mesh: Mesh | None) -> dict[str, NDArray]:
    """Shapes of the Gaussians, and the mesh."""
    arrays: dict[str, NDArray] = {}
    if splats is not None:
        arrays["scales"] = splats.scales[:_MAX_POINTS].astype("<f4")
        arrays["rotations"] = splats.rotations[:_MAX_POINTS].astype("<f4")
        arrays["opacities"] = splats.opacities[:_MAX_POINTS].astype("<f4")
    if mesh is not None:
        arrays["vertices"] = mesh.vertices.astype("<f4")
        arrays["vertex_colors"] = _padded(mesh.colors)
        arrays["triangles"] = mesh.triangles.astype("<u4")
    return arrays


def _extent(points: NDArray, poses: NDArray) -> tuple[NDArray, NDArray]:
    """Corners (3,) of the box that holds nearly all points, and the cameras."""
    ends = poses[:, :3, 3]
    if len(points):
        sample = points[:50_000]
        ends = np.concatenate([ends, np.quantile(sample, [0.02, 0.98], axis=0)])
    return (ends.min(axis=0), ends.max(axis=0)) if len(ends) else (np.zeros(3), np.ones(3))


def _camera_lines(poses: NDArray, size: float) -> dict[str, NDArray]:
    """Ends (L, 2, 3) and colours (L, 2, 4) of path and frusta, from blue (first) to red (last)."""
    if not len(poses):
        return {}
    share = np.linspace(0, 1, len(poses))[:, None]
    shades = (1 - share) * _BLUE + share * _RED
    frusta = frusta_lines(poses, size)
    path = np.stack([poses[:-1, :3, 3], poses[1:, :3, 3]], axis=1)
    colors = np.concatenate([np.repeat(shades, len(frusta) // len(poses), axis=0), shades[:-1]]).astype(np.uint8)
    return {
        "lines": np.concatenate([frusta, path]).astype("<f4"),
        "line_colors": np.repeat(_padded(colors)[:, None], 2, axis=1),
    }


def _padded(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([colors, np.full((len(colors), 1), 255, np.uint8)], axis=1)
