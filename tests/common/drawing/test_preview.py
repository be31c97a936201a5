"""Pictures of clouds: what covers what, where things appear, and what a viewpoint shows."""

from __future__ import annotations

import cv2
import numpy as np

from common.drawing.preview import choose_viewpoint, render_preview
from common.drawing.settings import LIGHT, PreviewStyle
from common.drawing.splatting import make_cloud, render

SIZE = (60, 80)
INTRINSICS = np.array([[60.0, 0, 39.5], [0, 60, 29.5], [0, 0, 1]])
RED, BLUE = (200, 20, 20), (20, 20, 200)


def plane(z: float, half: float, count: int = 20_000) -> np.ndarray:
    points = np.random.default_rng(0).uniform(-half, half, (count, 3))
    points[:, 2] = z
    return points


def painted(points: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return np.tile(np.uint8(color), (len(points), 1))


def seen_from(pose: np.ndarray, points: np.ndarray, colors: np.ndarray) -> np.ndarray:
    image = render(make_cloud(points, colors), pose, INTRINSICS, SIZE, LIGHT, 0.0)
    return cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA)


def room() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A box of 4 x 3 x 4 m, floor red, ceiling blue, walls grey, and a path of cameras inside (y is down)."""
    generator = np.random.default_rng(0)
    faces = []
    for axis, side, color in ((1, 1, RED), (1, 0, BLUE), *((a, s, (128, 128, 128)) for a in (0, 2) for s in (0, 1))):
        points = generator.uniform(0, 1, (12_000, 3))
        points[:, axis] = side
        faces.append((points * [4, 3, 4] + 0.003 * generator.normal(size=points.shape), painted(points, color)))
    poses = np.tile(np.eye(4), (10, 1, 1))
    poses[:, :3, 3] = [2.0, 1.5, 0.8]
    poses[:, 2, 3] += np.linspace(0, 2.4, 10)
    return np.concatenate([f[0] for f in faces]), np.concatenate([f[1] for f in faces]), poses


def test_near_points_cover_far_ones() -> None:
    near, far = plane(2, 0.3), plane(4, 3)
    points, colors = np.concatenate([near, far]), np.concatenate([painted(near, RED), painted(far, BLUE)])
    for order in (slice(None), slice(None, None, -1)):
        image = seen_from(np.eye(4), points[order], colors[order])
        assert image.shape == (*SIZE, 3) and image.dtype == np.uint8
        # The near square is 0.3 * 60 / 2 = 9 pixels to each side of the centre.
        assert (image[23:36, 33:46] == RED).all()
        assert (image[5:17] == BLUE).all() and (image[:, 5:27] == BLUE).all()


def test_a_point_appears_where_it_projects() -> None:
    pose = np.eye(4)
    pose[:3, 3] = 1, 0, 0
    points = np.array([[1.5, -0.25, 3.0], [1, 0, -2]])  # pixel (39.5 + 10, 29.5 - 5); one behind the camera
    image = seen_from(pose, points, painted(points, (0, 0, 0)))
    rows, columns = np.nonzero((image != LIGHT).any(axis=-1))
    assert abs(rows.mean() - 24.5) <= 0.5 and abs(columns.mean() - 49.5) <= 0.5
    assert 0 < len(rows) < 90, "a lonely point is a disc of at most 8 subpixels' radius"


def test_preview_shows_the_inside_of_a_room() -> None:
    points, colors, poses = room()
    image = render_preview(points, colors, poses, (120, 180)).astype(int)
    red = (image[..., 0] > 2 * image[..., 2]) & (image[..., 0] > 90)
    blue = (image[..., 2] > 2 * image[..., 0]) & (image[..., 2] > 90)
    assert red.mean() > 0.10, "the floor is in view"
    assert blue.mean() < 0.03, "the ceiling is not (the path begins blue)"
    closed = render_preview(points, colors, poses, (120, 180), PreviewStyle(hide_backs=False)).astype(int)
    assert ((closed[..., 2] > 2 * closed[..., 0]) & (closed[..., 2] > 90)).mean() > 0.10
    assert (image[[0, -1]] == LIGHT).all() and (image[:, [0, -1]] == LIGHT).all(), "nothing is cut off"


def test_preview_is_repeatable() -> None:
    points, colors, poses = room()
    first, second = (render_preview(points, colors, poses, (60, 90)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_viewpoint_is_behind_and_above_the_first_camera() -> None:
    points, _, poses = room()
    style = PreviewStyle(azimuth=0)
    pose = choose_viewpoint(points, poses, SIZE, style)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
    assert pose[2, 3] < poses[0, 2, 3] and pose[1, 3] < 0 and pose[2, 2] > 0.5 and pose[1, 1] > 0
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    tangent = np.tan(np.radians(style.field_of_view) / 2)
    assert (np.abs(local[:, 1]) < tangent * local[:, 2]).all()


def test_odd_input_gives_a_picture() -> None:
    nothing = np.empty((0, 3))
    assert (seen_from(np.eye(4), nothing, nothing) == LIGHT).all()
    down = np.eye(4)
    down[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    for points in (nothing, np.zeros((1, 3)), np.ones((30, 3)), np.full((5, 3), np.nan)):
        colors = np.zeros(points.shape, np.uint8)
        assert render_preview(points, colors, [down], SIZE).shape == (*SIZE, 3)
        assert seen_from(np.eye(4), points, colors).shape == (*SIZE, 3)
