"""A room whose images are known in closed form: the inside of a box whose colour is a smooth function of position.

Whatever a data set does to its raw images, the processed frames must agree with the room: each pixel, lifted by its
depth, intrinsics and pose, lies on a wall and has the colour of that place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_process.formats.rectify import pinhole_rays
from tests.support.raw_trees import read_color, read_plane

HALF = np.array([2.0, 1.5, 2.5])
"""Half sizes along x, y, z; metres."""


def distance(origin: NDArray, directions: NDArray) -> NDArray[np.float64]:
    """(...) length, in units of `directions` (..., 3), from a point inside to the wall."""
    with np.errstate(divide="ignore"):
        return ((np.where(directions > 0, HALF, -HALF) - origin) / directions).min(-1)


def color_at(points: NDArray) -> NDArray[np.float64]:
    """(..., 3) RGB of points (..., 3) of the walls."""
    x, y, z = np.moveaxis(points, -1, 0)
    return 128 + 90 * np.stack([np.sin(1.1 * x + 0.4 * z), np.sin(1.3 * y - 0.5 * x), np.sin(0.9 * z + 0.7 * y)], -1)


def look(camera_to_world: NDArray, rays: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Image (H, W, 3) and length (H, W) along viewing rays (H, W, 3) of the camera, in units of the rays."""
    directions = rays @ camera_to_world[:3, :3].T
    length = distance(camera_to_world[:3, 3], directions)
    points = camera_to_world[:3, 3] + length[..., None] * directions
    return np.rint(color_at(points)).astype(np.uint8), length


def pose(number: int) -> NDArray[np.float64]:
    """(4, 4) camera to world: inside the room, tilted about all axes."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [0.2 * number - 0.15, 0.3 + 0.4 * number, 0.1]).as_matrix()
    matrix[:3, 3] = 0.3 * np.sin(number), -0.2, 0.25 * np.cos(number)
    return matrix


def write_mesh(path: Path) -> None:
    """The room as an ASCII PLY: floor (y = +), ceiling, and four walls, each with four vertices of its own."""
    vertices: list[NDArray] = []
    faces: list[tuple[int, int, int]] = []
    for axis, sign in ((1, 1), (1, -1), (0, 1), (0, -1), (2, 1), (2, -1)):
        others = [k for k in range(3) if k != axis]
        first = len(vertices)
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            corner = np.zeros(3)
            corner[axis], corner[others[0]], corner[others[1]] = sign, a, b
            vertices.append(corner * HALF)
        faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    header = ["ply", "format ascii 1.0", f"element vertex {len(vertices)}"]
    header += [f"property float {name}" for name in "xyz"]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    rows = [" ".join(f"{value:.6f}" for value in vertex) for vertex in vertices]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*header, *rows, *(f"3 {a} {b} {c}" for a, b, c in faces)]) + "\n")


def check_scene(folder: Path, depth_scale: float = 1000.0, depth_tolerance: float = 0.01) -> float:
    """Every pixel with depth of every frame shows the room where depth, intrinsics and pose say, to 0.2 pixels.

    Args:
        folder: of a processed scene.
        depth_scale: stored units per metre.
        depth_tolerance: metres from the wall; the 99th percentile must be below.

    Returns:
        Least share of pixels with depth, over the frames.
    """
    with np.load(folder / "cameras.npz") as file:
        cameras = dict(file)
    shares = []
    for number, matrix, camera_to_world in zip(
        cameras["number"], cameras["intrinsics"].astype(float), cameras["camera_to_world"].astype(float), strict=True
    ):
        image = read_color(folder / "color" / f"{number:06d}.jpg").astype(float)
        depth = read_plane(folder / "depth" / f"{number:06d}.png") / depth_scale
        rays = pinhole_rays(matrix, depth.shape) @ camera_to_world[:3, :3].T
        valid = depth > 0
        expected = distance(camera_to_world[:3, 3], rays)
        error = np.abs(depth - expected)[valid]
        assert np.quantile(error, 0.99) < depth_tolerance, f"frame {number}: depth is off by {error.max():.4f}"
        colors = color_at(camera_to_world[:3, 3] + expected[..., None] * rays)
        difference = np.abs(image - colors)[valid]
        assert difference.mean() < 2 and np.quantile(difference, 0.99) < 8, f"frame {number}: colour"
        offset = shift(image, colors, valid)
        assert np.abs(offset).max() < 0.2, f"frame {number}: shifted by {offset} pixels"
        shares.append(valid.mean())
    return min(shares)


def shift(seen: NDArray, true: NDArray, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(x, y) pixels by which an image (H, W, C) is displaced, to first order, by least squares over valid pixels."""
    slopes = np.stack(np.gradient(true, axis=(1, 0)), axis=-1)[valid].reshape(-1, 2)
    return np.linalg.lstsq(slopes, (true - seen)[valid].ravel(), rcond=None)[0]
