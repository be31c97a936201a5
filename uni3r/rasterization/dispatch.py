"""Entry point of rendering: checks the arguments and chooses the back end."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from common.geometry.cameras import colmap_from_opencv
from common.geometry.transforms import invert
from common.views import Cameras
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.spherical_harmonics import degree_of, view_colours
from uni3r.rasterization.gsplat_backend import render_gsplat
from uni3r.rasterization.rendering import RasterizationSettings, Rendering
from uni3r.rasterization.torch_backend import render_torch


def rasterize(
    gaussians: Gaussians,
    cameras: Cameras,
    size: tuple[int, int],
    *,
    near: float = 0.1,
    far: float = 100.0,
    sh_degree: int | None = None,
    settings: RasterizationSettings | None = None,
) -> Rendering:
    """Render every scene of a batch in its cameras.

    Differentiable in all fields of the Gaussians and of the cameras (gsplat: not in the intrinsics). The poses are
    inverted as general matrices, so the gradient is that of each of their entries. Runs in the dtype of the means
    (half precision is raised to float32), outside of autocast.

    Args:
        gaussians: (B, N, ..).
        cameras: (B, V, ..), pixel centres at whole numbers (``common/conventions.md``). Skew is ignored.
        size: (height, width) of the images, pixels.
        near: near plane along z, in the unit of the scene; above 0.
        far: far plane.
        sh_degree: degree of the colours: None uses all coefficients, 0 only the constant one, as published Uni3R.
        settings: thresholds and the choice of the back end; None takes the defaults.

    Returns:
        `Rendering` (B, V, ..).

    Raises:
        ValueError: naming the argument whose shape or value is wrong.
        ImportError: if the Gaussians are on CUDA and gsplat is not installed.
    """
    settings = settings or RasterizationSettings()
    _check(gaussians, cameras, size, near, far)
    degree = _degree(gaussians.harmonics, sh_degree)
    on_cuda = gaussians.means.is_cuda
    backend = settings.backend if settings.backend != "auto" else "gsplat" if on_cuda else "torch"
    if on_cuda != (backend == "gsplat"):
        raise ValueError(f"backend {backend} does not take Gaussians on {gaussians.means.device}")
    render = render_gsplat if backend == "gsplat" else render_torch
    with torch.autocast(gaussians.means.device.type, enabled=False):
        dtype = torch.promote_types(gaussians.means.dtype, torch.float32)
        gaussians, cameras = gaussians.to(dtype), cameras.to(dtype)
        gaussians = _without_undrawable(gaussians, cameras.intrinsics[..., :2, :2].abs().amax() / near)
        view_matrices = invert(cameras.camera_to_world)
        # The only place where pixel centres move from integers to half integers, the convention of both back ends.
        intrinsics = colmap_from_opencv(cameras.intrinsics)
        scenes = [
            render(
                gaussians[scene],
                _colours(gaussians[scene], cameras.camera_to_world[scene], degree),
                view_matrices[scene],
                intrinsics[scene],
                size,
                near,
                far,
                settings,
            )
            for scene in range(len(gaussians.means))
        ]
    return Rendering.stack(scenes)


def _without_undrawable(gaussians: Gaussians, pixels_per_unit: Tensor) -> Gaussians:
    """The Gaussians, those that no back end can draw replaced by ones of opacity 0 and without a gradient.

    A centre, scale or rotation that is not finite, or whose squares overflow, is never seen; but its infinite
    derivative times a gradient of 0 would be NaN in what it shares with the others, such as the pose.

    Args:
        gaussians: (B, N, ..).
        pixels_per_unit: the most pixels that a unit of the scene can take in the images.
    """
    largest = torch.finfo(gaussians.means.dtype).max ** 0.25 / 4  # the projection takes fourth powers of pixels
    drawable = (gaussians.means.abs() < largest**2).all(-1) & gaussians.rotations.isfinite().all(-1)
    drawable &= (gaussians.scales.abs() * pixels_per_unit.clamp(min=1) < largest).all(-1)  # false for NaN
    if not drawable.is_cuda and drawable.all():  # on CUDA the question would wait for the device
        return gaussians
    one = drawable[..., None]
    return replace(
        gaussians,
        means=torch.where(one, gaussians.means, 0.0),
        scales=torch.where(one, gaussians.scales, 1e-3),
        rotations=torch.where(one, gaussians.rotations, gaussians.rotations.new_tensor([1.0, 0, 0, 0])),
        opacities=torch.where(drawable, gaussians.opacities, 0.0),
    )


def _colours(scene: Gaussians, camera_to_world: Tensor, degree: int) -> Tensor:
    """(V, N, 3) colours of a scene in its cameras, or (1, N, 3) where they are the same in all."""
    poses = camera_to_world[:1] if degree == 0 else camera_to_world
    return torch.stack([view_colours(scene.harmonics, scene.means, pose[:3, 3], degree) for pose in poses])


def _degree(harmonics: Tensor, wanted: int | None) -> int:
    stored = degree_of(harmonics.shape[2])
    if wanted is not None and not 0 <= wanted <= stored:
        raise ValueError(f"sh_degree: expected 0 to {stored}, the degree of the harmonics, got {wanted}")
    return stored if wanted is None else wanted


def _check(gaussians: Gaussians, cameras: Cameras, size: tuple[int, int], near: float, far: float) -> None:
    if gaussians.means.ndim != 3:
        raise ValueError(f"means: expected (B, N, 3), got {tuple(gaussians.means.shape)}")
    batch, number, _ = gaussians.means.shape
    trailing = {"means": (3,), "scales": (3,), "rotations": (4,), "opacities": (), "harmonics": (None, 3)}
    if gaussians.features is not None:
        trailing["features"] = (None,)
    _check_shapes(gaussians, (batch, number), trailing)
    if cameras.intrinsics.ndim != 4:
        raise ValueError(f"intrinsics: expected (B, V, 3, 3), got {tuple(cameras.intrinsics.shape)}")
    views = cameras.intrinsics.shape[1]
    _check_shapes(cameras, (batch, views), {"camera_to_world": (4, 4), "intrinsics": (3, 3)})
    if batch == 0 or views == 0:
        raise ValueError("expected at least one scene and one camera")
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size: expected (height, width) of at least one pixel, got {size}")
    if not 0 < near < far:
        raise ValueError(f"expected 0 < near < far, got {near} and {far}")


def _check_shapes(fields: Gaussians | Cameras, leading: tuple[int, int], trailing: dict[str, tuple]) -> None:
    for name, last in trailing.items():
        shape = getattr(fields, name).shape
        expected = (*leading, *last)
        if len(shape) != len(expected) or any(b is not None and a != b for a, b in zip(shape, expected)):
            shown = ", ".join("any" if side is None else str(side) for side in expected)
            raise ValueError(f"{name}: expected ({shown}), got {tuple(shape)}")
