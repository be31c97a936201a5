"""Previews of point clouds with camera path and frusta, drawn on the CPU like a doll's house.

Cameras see only the front of surfaces, so surfaces that would show their back to the viewer (the ceiling, the near
walls) are left out, which opens the view into a room.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from common.drawing.seen_sides import faces_viewer, seen_normals
from common.drawing.settings import PreviewStyle
from common.drawing.splatting import NEIGHBOURS, SurfaceCloud, draw_sample, make_cloud, render, supersampled
from common.geometry.up_axis import find_up, level_direction

_PATH_START, _PATH_END = np.array([38.0, 110, 230]), np.array([235.0, 70, 50])


def render_preview(
    points: ArrayLike,
    colors: ArrayLike,
    camera_poses: ArrayLike,
    size: tuple[int, int] = (720, 1080),
    style: PreviewStyle | None = None,
) -> NDArray[np.uint8]:
    """Picture of a whole reconstruction from above and behind the cameras.

    Args:
        points: (..., 3) world, any unit; points that are not finite are left out.
        colors: (..., 3) uint8 RGB.
        camera_poses: (N, 4, 4) camera-to-world, OpenCV axes, in the order of the path; N >= 1.
        size: (height, width) of the picture, pixels.
        style: see `PreviewStyle`.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    stage = PreviewStage(points, colors, camera_poses, size, style)
    return stage.draw()


class PreviewStage:
    """A cloud with a chosen viewpoint, drawn in full or in part, and from other viewpoints."""

    def __init__(
        self,
        points: ArrayLike,
        colors: ArrayLike,
        camera_poses: ArrayLike,
        size: tuple[int, int] = (720, 1080),
        style: PreviewStyle | None = None,
    ) -> None:
        """Take the arguments of `render_preview`; points must be finite for masks of `draw` to match their order."""
        self.size, self.style = size, style or PreviewStyle()
        self.poses = np.asarray(camera_poses, np.float64).reshape(-1, 4, 4)
        cloud = make_cloud(points, colors)
        kept = _main_part(cloud)
        self.kept = np.flatnonzero(kept)
        """Indices of the points that are drawn."""
        self._cloud = cloud[kept]
        self._viewpoint = choose_viewpoint(self._cloud.points, self.poses, size, self.style)
        self._radius = _radius(self._cloud.points, self.poses)
        self._normals = None
        if self.style.hide_backs and len(self._cloud.points) > NEIGHBOURS:
            self._normals = seen_normals(self._cloud, self.poses[:, :3, 3])

    @property
    def viewpoint(self) -> NDArray[np.float64]:
        """(4, 4) camera-to-world pose that has everything in view."""
        return self._viewpoint

    def turned(self, degrees: float) -> NDArray[np.float64]:
        """Viewpoint rotated about the up axis, at the smallest distance that keeps everything in view."""
        turn = Rotation.from_rotvec(np.radians(degrees) * find_up(self.poses)).as_matrix()
        extent = np.concatenate([draw_sample(self._cloud.points), self.poses[:, :3, 3]])
        return _fit(turn @ self._viewpoint[:3, :3], extent, self.size, self.style.field_of_view)

    def draw(
        self, shown: NDArray[np.bool_] | None = None, cameras: int | None = None, viewpoint: NDArray | None = None
    ) -> NDArray[np.uint8]:
        """(height, width, 3) RGB picture.

        Args:
            shown: (P,) mask of the given points; None for all.
            cameras: number of cameras to draw, from the first; None for all. If not all, the last one is drawn large.
            viewpoint: (4, 4) camera-to-world; None for the one that was chosen.
        """
        pose = self._viewpoint if viewpoint is None else viewpoint
        visible = np.ones(len(self._cloud.points), bool) if shown is None else shown[self.kept]
        if self._normals is not None:
            visible = visible & faces_viewer(self._cloud, self._normals, pose[:3, 3])
        intrinsics, style = _intrinsics(self.size, self.style.field_of_view), self.style
        image = render(self._cloud[visible], pose, intrinsics, self.size, style.background, style.shading)
        count = len(self.poses) if cameras is None else cameras
        look = _Look(pose, supersampled(intrinsics), max(2, image.shape[0] // 360))
        _draw_cameras(image, self.poses, count, look, 0.035 * self._radius, style.frusta)
        return _reduced(image, self.size)


def choose_viewpoint(
    points: NDArray, camera_poses: NDArray, size: tuple[int, int], style: PreviewStyle
) -> NDArray[np.float64]:
    """(4, 4) camera-to-world pose that has all points (P, 3) and cameras (N, 4, 4) in view."""
    up = find_up(camera_poses)
    forward = level_direction(camera_poses, up)
    azimuth, elevation = np.radians([style.azimuth, style.elevation])
    level = np.cos(azimuth) * forward + np.sin(azimuth) * np.cross(forward, up)
    look = np.cos(elevation) * level - np.sin(elevation) * up
    right = np.cross(look, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(look, right), look], axis=1)
    return _fit(rotation, np.concatenate([draw_sample(points), camera_poses[:, :3, 3]]), size, style.field_of_view)


def _fit(rotation: NDArray, points: NDArray, size: tuple[int, int], field_of_view: float) -> NDArray[np.float64]:
    """Nearest viewpoint with this rotation that has the points in view and centred."""
    height, width = size
    tangent = 0.92 * np.tan(np.radians(field_of_view) / 2) * np.array([width / height, 1.0])
    local = points @ rotation
    # A point is inside on one side if +-x - tangent * z <= +-c - tangent * d for the viewer's position (c, d).
    high = (local[:, :2] - tangent * local[:, 2:]).max(axis=0)
    low = (-local[:, :2] - tangent * local[:, 2:]).max(axis=0)
    depth = float((-(high + low) / (2 * tangent)).min())
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = rotation @ np.array([*((high - low) / 2), depth])
    return pose


def _main_part(cloud: SurfaceCloud) -> NDArray[np.bool_]:
    """(P,) mask that excludes points far away from the rest, and isolated ones."""
    if len(cloud.points) == 0:
        return np.ones(0, bool)
    low, high = np.quantile(cloud.sample, [0.01, 0.99], axis=0)
    margin = 0.15 * (high - low).max()
    inside = ((cloud.points >= low - margin) & (cloud.points <= high + margin)).all(axis=1)
    return inside & (cloud.spacing <= 6 * np.median(cloud.spacing))


def _radius(points: NDArray, poses: NDArray) -> float:
    """Half the diagonal of the scene."""
    extent = np.concatenate([draw_sample(points), poses[:, :3, 3]])
    return float(np.linalg.norm(np.ptp(extent, axis=0))) / 2


def _reduced(image: NDArray, size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)


def _intrinsics(size: tuple[int, int], field_of_view: float) -> NDArray[np.float64]:
    height, width = size
    focal = height / 2 / np.tan(np.radians(field_of_view) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


@dataclass(frozen=True)
class _Look:
    """Camera and line width for drawing lines."""

    viewer: NDArray
    """(4, 4)."""
    intrinsics: NDArray
    """(3, 3) of the supersampled picture."""
    thickness: int


def _draw_cameras(image: NDArray, poses: NDArray, count: int, look: _Look, size: float, frusta: int) -> None:
    """Path and frusta of the first `count` cameras, in place, from blue (first) to red (last of all)."""
    share = np.linspace(0, 1, len(poses))[:, None]
    shades = (1 - share) * _PATH_START + share * _PATH_END
    spread = np.linspace(0, len(poses) - 1, max(0, min(frusta, len(poses))))
    for i in np.unique(spread.round().astype(int)):
        if i < count:
            _draw_frustum(image, poses[i], size, look, shades[i])
    for i in range(count - 1):
        _draw_line(image, poses[i : i + 2, :3, 3], look, shades[i], 2)
    if 0 < count < len(poses):
        _draw_frustum(image, poses[count - 1], 2 * size, look, shades[count - 1], 1)


def _draw_frustum(image: NDArray, pose: NDArray, size: float, look: _Look, shade: NDArray, thicker: int = 0) -> None:
    corners = np.array([[0, 0, 0], [-1, -0.75, 1.2], [1, -0.75, 1.2], [1, 0.75, 1.2], [-1, 0.75, 1.2]])
    frustum = corners * size @ pose[:3, :3].T + pose[:3, 3]
    for first, second in ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1)):
        _draw_line(image, frustum[[first, second]], look, shade, thicker)


def _draw_line(image: NDArray, ends: NDArray, look: _Look, color: NDArray, thicker: int) -> None:
    local = (ends - look.viewer[:3, 3]) @ look.viewer[:3, :3]
    if (local[:, 2] <= 1e-6).any():
        return
    pixels = local @ look.intrinsics.T
    pixels = np.clip(pixels[:, :2] / pixels[:, 2:], -16000, 16000)
    first, second = np.rint(pixels * 8).astype(int).tolist()
    cv2.line(image, first, second, color.tolist(), look.thickness + thicker, cv2.LINE_AA, shift=3)
