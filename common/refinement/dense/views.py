"""The frames as the dense stages see them: grey pictures at the scale of a grid, their lenses and poses, on one device.

A frame's *grid* is the network's, or a coarser or finer one over the same part of the picture. Its *picture* is the
whole working picture, scaled so that its pixels are as large as the grid's: what lies beside a crop helps to match.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from common.geometry.cameras import pixel_grid
from common.geometry.transforms import invert_rigid
from common.refinement.projection import undistort
from common.refinement.types import Camera, Picture

_GREY = (0.299, 0.587, 0.114)
"""Luma of RGB (ITU-R BT.601)."""


@dataclass(frozen=True)
class DenseViews:
    """N frames at the scale of one grid. Pixels are those of `pictures` unless a name says grid."""

    size: tuple[int, int]
    """(H, W) of the grid."""
    pictures: list[Tensor]
    """Whole working picture of each frame, (h, w) float16 grey in [0, 1]."""
    masks: list[Tensor | None]
    """Mask of each frame, (h, w) float16, 1 where it may be matched; None: everywhere."""
    lens: Tensor
    """(N, 5) float32: fx, fy, cx, cy and k1, pixels."""
    extent: Tensor
    """(N, 2) float32, width and height of the pictures."""
    grid_from_picture: Tensor
    """(N, 3, 3) float32, homogeneous."""
    camera_to_world: Tensor
    """(N, 4, 4) float32; NaN where a frame has no pose."""

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.lens.device

    @property
    def posed(self) -> Tensor:
        """(N,) bool, frames with a pose."""
        return torch.isfinite(self.camera_to_world).flatten(1).all(dim=1)

    def pixels(self, frame: int, margin: int = 0) -> Tensor:
        """(H + 2 margin, W + 2 margin, 2) picture pixels of the frame's grid, extended by a margin on all sides."""
        height, width = self.size
        grid = pixel_grid((height + 2 * margin, width + 2 * margin), self.device, torch.float64) - margin
        homogeneous = torch.cat([grid, torch.ones_like(grid[..., :1])], dim=-1)
        picture = homogeneous @ torch.linalg.inv(self.grid_from_picture[frame].double()).T
        return (picture[..., :2] / picture[..., 2:]).float()

    def rays(self, frame: int, margin: int = 0) -> Tensor:
        """(H + 2 margin, W + 2 margin, 3) viewing rays with z = 1 of the frame's grid, in camera axes."""
        fx, fy, cx, cy, k1 = self.lens[frame].tolist()
        pixels = self.pixels(frame, margin)
        xy = (pixels - pixels.new_tensor([cx, cy])) / pixels.new_tensor([fx, fy])
        xy = undistort(xy, k1)
        return torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)

    def grey(self, frame: int, margin: int = 0) -> Tensor:
        """(H + 2 margin, W + 2 margin) float32 grey values of the frame's grid; beyond the picture its border's."""
        return sample(self.pictures[frame].float(), self.pixels(frame, margin))

    def usable(self, frame: int) -> Tensor:
        """(H, W) bool, grid pixels that lie in the picture and may be matched."""
        pixels = self.pixels(frame)
        inside = ((pixels > -0.5) & (pixels < self.extent[frame] - 0.5)).all(dim=-1)
        mask = self.masks[frame]
        return inside if mask is None else inside & (sample(mask.float(), pixels) > 0.5)

    def relative(self, frame: int, others: Tensor) -> Tensor:
        """(K, 4, 4) transforms from the frame's camera to those of `others` (K,). Computed in float64."""
        poses = self.camera_to_world.double()
        return (invert_rigid(poses[others]) @ poses[frame]).float()

    def project(self, others: Tensor, points: Tensor) -> Tensor:
        """Picture pixels (K, ..., 2) of points (K, ..., 3) in the cameras of `others` (K,); senseless at z <= 0."""
        lens = self.lens[others].reshape(len(others), *([1] * (points.ndim - 2)), 5)
        xy = points[..., :2] / points[..., 2:]
        radial = 1 + lens[..., 4:] * (xy * xy).sum(dim=-1, keepdim=True)
        # Beyond this radius the model folds back into the picture: such points are sent far outside.
        xy = xy * torch.where(radial > 2 / 3, radial, 1e4)
        return xy * lens[..., :2] + lens[..., 2:4]

    def inside(self, others: Tensor, pixels: Tensor) -> Tensor:
        """(K, ...) bool, which of the pixels (K, ..., 2) lie in the pictures of `others` (K,)."""
        extent = self.extent[others].reshape(len(others), *([1] * (pixels.ndim - 2)), 2)
        return ((pixels > -0.5) & (pixels < extent - 0.5)).all(dim=-1)

    def to_grid(self, others: Tensor, pixels: Tensor) -> Tensor:
        """Grid pixels (K, ..., 2) of picture pixels (K, ..., 2) of `others` (K,)."""
        affine = self.grid_from_picture[others].reshape(len(others), *([1] * (pixels.ndim - 2)), 3, 3)
        return (affine[..., :2, :2] @ pixels[..., None])[..., 0] + affine[..., :2, 2]


def dense_views(
    pictures: Iterable[Picture],
    cameras: Sequence[Camera],
    camera_to_world: Tensor,
    network_size: tuple[int, int],
    scales: Sequence[float],
    device: torch.device | str,
) -> dict[float, DenseViews]:
    """Prepare frames for grids of several sizes.

    Args:
        pictures: N; each is looked at once.
        cameras: physical cameras, by their number.
        camera_to_world: (N, 4, 4), NaN where a frame has no pose.
        network_size: (H, W) of the network's grid.
        scales: sizes of the grids relative to the network's.
        device: for the result.
    """
    sizes = {scale: (round(network_size[0] * scale), round(network_size[1] * scale)) for scale in scales}
    frames: dict[float, list[_Frame]] = {scale: [] for scale in sizes}
    for picture in pictures:
        grey = _grey(picture.image, device)
        for scale, size in sizes.items():
            frames[scale].append(_prepare(picture, grey, cameras[picture.camera], network_size, size))
    poses = camera_to_world.to(device, torch.float32)
    return {scale: _collect(frames[scale], sizes[scale], poses) for scale in sizes}


class _Frame(NamedTuple):
    picture: Tensor
    mask: Tensor | None
    lens: list[float]
    grid_from_picture: Tensor


def _prepare(
    picture: Picture, grey: Tensor, camera: Camera, network_size: tuple[int, int], size: tuple[int, int]
) -> _Frame:
    grid_from_working = _resize_map(network_size, size) @ picture.network_from_working.double().cpu()
    shape = _picture_size(picture.size, grid_from_working)
    picture_from_working = _resize_map(picture.size, shape)
    mask = None if picture.mask is None else _resize(picture.mask.to(grey.device).float(), shape).half()
    return _Frame(
        _resize(grey, shape).clamp(0, 1).half(),
        mask,
        _lens(camera, picture_from_working),
        grid_from_working @ torch.linalg.inv(picture_from_working),
    )


def _collect(frames: list[_Frame], size: tuple[int, int], poses: Tensor) -> DenseViews:
    extents = [[float(frame.picture.shape[1]), float(frame.picture.shape[0])] for frame in frames]
    return DenseViews(
        size,
        [frame.picture for frame in frames],
        [frame.mask for frame in frames],
        poses.new_tensor([frame.lens for frame in frames]).reshape(-1, 5),
        poses.new_tensor(extents).reshape(-1, 2),
        torch.stack([frame.grid_from_picture for frame in frames]).to(poses),
        poses,
    )


def sample(image: Tensor, pixels: Tensor, mode: str = "bilinear") -> Tensor:
    """Values (...) of an image (h, w) at pixels (..., 2); beyond the image its border's."""
    extent = pixels.new_tensor([image.shape[1], image.shape[0]])
    grid = ((2 * pixels + 1) / extent - 1).reshape(1, 1, -1, 2)
    values = F.grid_sample(image[None, None], grid, mode=mode, padding_mode="border", align_corners=False)
    return values.reshape(pixels.shape[:-1])


def _picture_size(working: tuple[int, int], grid_from_working: Tensor) -> tuple[int, int]:
    """(height, width) at which a working picture has the grid's pixel size; never enlarged beyond twice its own."""
    scale_x = float(grid_from_working[:2, 0].norm())
    scale_y = float(grid_from_working[:2, 1].norm())
    return max(2, round(working[0] * min(scale_y, 2.0))), max(2, round(working[1] * min(scale_x, 2.0)))


def _resize_map(old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """(3, 3) float64 pixel of an image resized from `old` to `new` <- pixel of the old one; centres at integers."""
    scale_y, scale_x = new[0] / old[0], new[1] / old[1]
    return torch.tensor(
        [[scale_x, 0, 0.5 * scale_x - 0.5], [0, scale_y, 0.5 * scale_y - 0.5], [0, 0, 1]], dtype=torch.float64
    )


def _lens(camera: Camera, picture_from_working: Tensor) -> list[float]:
    scale_x, scale_y = float(picture_from_working[0, 0]), float(picture_from_working[1, 1])
    shift_x, shift_y = float(picture_from_working[0, 2]), float(picture_from_working[1, 2])
    return [
        camera.fx * scale_x,
        camera.fy * scale_y,
        camera.cx * scale_x + shift_x,
        camera.cy * scale_y + shift_y,
        camera.k1,
    ]


def _grey(image: Tensor, device: torch.device | str) -> Tensor:
    """(h, w) float32 in [0, 1] of a uint8 picture (3 or 1, h, w)."""
    values = image.to(device).float() / 255
    return values[0] if len(values) == 1 else (values * values.new_tensor(_GREY)[:, None, None]).sum(dim=0)


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape) == size:
        return image
    return F.interpolate(image[None, None], size, mode="bilinear", align_corners=False, antialias=True)[0, 0]
