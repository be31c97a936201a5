"""The renderer on scenes whose images are known in closed form, and on bad or empty input."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from common.geometry.cameras import make_intrinsics
from common.views import Cameras
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.spherical_harmonics import CONSTANT, spherical_harmonics
from uni3r.rasterization import RasterizationSettings, Rendering, rasterize
from uni3r.rasterization.compositing import SLAB

SIZE = (15, 21)
FOCAL = 20.0


def camera(dtype: torch.dtype = torch.float32) -> Cameras:
    """At the origin, looking along z; the middle pixel, row 7 and column 10, looks straight ahead."""
    intrinsics = make_intrinsics(torch.tensor(FOCAL, dtype=dtype), torch.tensor([10.0, 7.0], dtype=dtype))
    return Cameras(torch.eye(4, dtype=dtype)[None, None], intrinsics[None, None])


def spheres(means: list, sigma: float, opacities: list[float], colours: list) -> Gaussians:
    """Round Gaussians of one scene; two features each, its index and one."""
    number = len(means)
    harmonics = (torch.tensor(colours)[:, None] - 0.5) / CONSTANT
    features = torch.stack([torch.arange(number).float(), torch.ones(number)], dim=1)
    rotations = torch.tensor([1.0, 0, 0, 0]).expand(number, 4)
    shapes = torch.tensor(means), torch.full((number, 3), sigma), rotations
    return Gaussians(*(tensor[None] for tensor in (*shapes, torch.tensor(opacities), harmonics, features)))


def random_scene(number: int, dtype: torch.dtype = torch.float32, degree: int = 1, batch: int = 1) -> Gaussians:
    """In front of the camera, some of them outside its view."""
    means = torch.randn(batch, number, 3, dtype=dtype) * torch.tensor([1.5, 1, 0.8], dtype=dtype)
    means[..., 2] += 3
    return Gaussians(
        means,
        0.05 + 0.3 * torch.rand(batch, number, 3, dtype=dtype),
        torch.randn(batch, number, 4, dtype=dtype),
        0.1 + 0.85 * torch.rand(batch, number, dtype=dtype),
        0.3 * torch.randn(batch, number, (degree + 1) ** 2, 3, dtype=dtype),
        torch.randn(batch, number, 5, dtype=dtype),
    )


def features_of(owner: Gaussians | Rendering) -> Tensor:
    """Features that are there."""
    assert owner.features is not None
    return owner.features


def assert_same(first: Rendering, second: Rendering, tolerance: float = 1e-5) -> None:
    for name in ("image", "features", "depth", "alpha"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=tolerance, atol=tolerance)


def test_one_sphere() -> None:
    """Straight ahead, a sphere is a round blob of variance (focal sigma / z)^2 + eps2d about the middle pixel."""
    opacity, depth, sigma = 0.8, 4.0, 0.3
    rendering = rasterize(spheres([[0, 0, depth]], sigma, [opacity], [[0.9, 0.5, 0.1]]), camera(), SIZE)
    rows, columns = torch.meshgrid(torch.arange(15.0), torch.arange(21.0), indexing="ij")
    variance = (FOCAL * sigma / depth) ** 2 + 0.3
    alpha = opacity * torch.exp(-0.5 * ((rows - 7) ** 2 + (columns - 10) ** 2) / variance)
    alpha[alpha < 1 / 255] = 0
    torch.testing.assert_close(rendering.alpha[0, 0], alpha)
    torch.testing.assert_close(rendering.depth[0, 0], depth * alpha)
    torch.testing.assert_close(rendering.image[0, 0], torch.tensor([0.9, 0.5, 0.1])[:, None, None] * alpha)


def test_pixel_centres_are_whole_numbers() -> None:
    """A point that projects to (x, y) = (12, 4) lights that pixel most, and its neighbours alike."""
    point = [(12 - 10) / FOCAL * 2, (4 - 7) / FOCAL * 2, 2.0]
    alpha = rasterize(spheres([point], 1e-3, [0.9], [[1.0] * 3]), camera(), SIZE).alpha[0, 0]
    assert divmod(int(alpha.argmax()), SIZE[1]) == (4, 12)
    torch.testing.assert_close(alpha[4, 11], alpha[4, 13])
    torch.testing.assert_close(alpha[3, 12], alpha[5, 12])


def test_the_nearer_one_covers_the_other() -> None:
    """Whatever their order in memory: c_near a + c_far b (1 - a)."""
    near, far = [0.0, 0, 2], [0.0, 0, 5]
    red, blue = [1.0, 0, 0], [0.0, 0, 1]
    scenes = [
        spheres([near, far], 0.2, [0.6, 0.7], [red, blue]),
        spheres([far, near], 0.2, [0.7, 0.6], [blue, red]),
    ]
    for scene in scenes:
        middle = rasterize(scene, camera(), SIZE)
        torch.testing.assert_close(middle.image[0, 0, :, 7, 10], torch.tensor([0.6, 0, 0.4 * 0.7]))
        torch.testing.assert_close(middle.depth[0, 0, 7, 10], torch.tensor(2 * 0.6 + 5 * 0.4 * 0.7))


def test_a_pixel_stops_before_it_is_opaque() -> None:
    """With alpha 0.9 each, the fourth would bring the transmittance to 1e-4: three are drawn, and alpha is 0.999."""
    number = 3 * SLAB
    scene = spheres([[0.0, 0, 2 + i] for i in range(number)], 0.5, [0.9 + 1e-6] * number, [[0.5] * 3] * number)
    rendering = rasterize(scene, camera(), SIZE)
    torch.testing.assert_close(rendering.alpha[0, 0, 7, 10], torch.tensor(0.999), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        features_of(rendering)[0, 0, 0, 7, 10], torch.tensor(0.09 + 2 * 0.009), rtol=0, atol=1e-5
    )


def test_opacity_is_capped_and_faint_splats_are_dropped() -> None:
    scene = spheres([[0.0, 0, 3]], 0.3, [1.0], [[1.0] * 3])
    assert float(rasterize(scene, camera(), SIZE).alpha.max()) == pytest.approx(0.999)
    scene.opacities = torch.full_like(scene.opacities, 0.9 / 255)
    assert float(rasterize(scene, camera(), SIZE).alpha.max()) == 0


@pytest.mark.parametrize("depth", [-2.0, 0.0, 0.05, 200.0])
def test_nothing_is_drawn_outside_the_planes(depth: float) -> None:
    scene = spheres([[0.0, 0, depth], [0.1, 0, 3]], 0.3, [0.9, 0.5], [[1.0] * 3] * 2)
    other = spheres([[0.1, 0, 3]], 0.3, [0.5], [[1.0] * 3])
    other.features = features_of(scene)[:, 1:]
    scene.means.requires_grad_()
    rendering = rasterize(scene, camera(), SIZE)
    assert_same(rendering, rasterize(other, camera(), SIZE), 1e-6)
    rendering.image.sum().backward()
    assert scene.means.grad is not None
    assert (scene.means.grad[0, 0] == 0).all() and scene.means.grad.isfinite().all()


def test_gradients_are_those_of_finite_differences() -> None:
    """In float64, of every field of the Gaussians, the pose and the intrinsics, with view-dependent colour.

    Thresholds of alpha are lowered, as finite differences step over them.
    """
    torch.manual_seed(3)
    scene, view = random_scene(3, torch.float64), camera(torch.float64)
    settings = RasterizationSettings(min_alpha=1e-12, min_transmittance=1e-12, tile_size=4)
    weight = torch.randn(10, 5, 6, dtype=torch.float64)

    view.intrinsics[..., :2, 2] = torch.tensor([2.4, 2.1])  # of the smaller image

    def images(*tensors: Tensor) -> Tensor:
        out = rasterize(Gaussians(*tensors[:6]), Cameras(*tensors[6:]), (5, 6), settings=settings)
        channels = torch.cat([out.image, features_of(out), out.depth[:, :, None], out.alpha[:, :, None]], dim=2)
        return (channels * weight).sum((-1, -2))

    fields = [scene.means, scene.scales, scene.rotations, scene.opacities, scene.harmonics, features_of(scene)]
    fields += [view.camera_to_world, view.intrinsics]
    assert torch.autograd.gradcheck(images, [tensor.clone().requires_grad_() for tensor in fields], atol=1e-6)


@pytest.mark.parametrize("tile_size", [4, 8, 16])
def test_tiles_do_not_show(tile_size: int) -> None:
    """Float64 images in any tiling are those of a plain loop over all Gaussians for every pixel."""
    scene = random_scene(60, torch.float64, degree=0)
    rendering = rasterize(scene, camera(torch.float64), SIZE, settings=RasterizationSettings(tile_size=tile_size))
    expected = brute_force(scene)
    torch.testing.assert_close(features_of(rendering)[0, 0], expected, rtol=1e-9, atol=1e-9)


def brute_force(scene: Gaussians) -> Tensor:
    """(5, H, W) features by the definition, from 3 x 3 covariances and their projection."""
    means, covariances = scene.means[0], scene.covariances()[0]
    z, out = means[:, 2], torch.zeros(5, *SIZE, dtype=torch.float64)
    x_limit, y_limit = (torch.tensor((n / 2 + 0.15 * n) / FOCAL, dtype=torch.float64) for n in (21, 15))
    slope_x, slope_y = (means[:, 0] / z).clamp(-x_limit, x_limit), (means[:, 1] / z).clamp(-y_limit, y_limit)
    zero = torch.zeros_like(z)
    rows = [torch.stack([FOCAL / z, zero, -FOCAL * slope_x / z]), torch.stack([zero, FOCAL / z, -FOCAL * slope_y / z])]
    jacobian = torch.stack(rows).permute(2, 0, 1)
    conics = torch.linalg.inv(jacobian @ covariances @ jacobian.mT + 0.3 * torch.eye(2, dtype=torch.float64))
    centres = FOCAL * means[:, :2] / z[:, None] + torch.tensor([10.0, 7.0], dtype=torch.float64)
    order = [int(i) for i in z.argsort() if 0.1 <= z[i] <= 100]
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            transmittance = 1.0
            offsets = torch.tensor([column, row], dtype=torch.float64) - centres
            exponents = 0.5 * torch.einsum("ni,nij,nj->n", offsets, conics, offsets)
            alphas = (scene.opacities[0] * torch.exp(-exponents)).clamp(max=0.999).tolist()
            for i in order:
                if alphas[i] < 1 / 255:
                    continue
                if transmittance * (1 - alphas[i]) <= 1e-4:
                    break
                out[:, row, column] += alphas[i] * transmittance * features_of(scene)[0, i]
                transmittance *= 1 - alphas[i]
    return out


def test_batches_and_views_are_independent() -> None:
    scene = random_scene(50, batch=2)
    poses = torch.eye(4).repeat(2, 3, 1, 1)
    poses[..., 0, 3] = torch.tensor([-0.2, 0.0, 0.3])
    cameras = Cameras(poses, camera().intrinsics.expand(2, 3, 3, 3))
    rendering = rasterize(scene, cameras, SIZE)
    assert rendering.image.shape == (2, 3, 3, *SIZE) and rendering.depth.shape == (2, 3, *SIZE)
    for batch in range(2):
        for view in range(3):
            one = rasterize(scene[batch : batch + 1], cameras[batch : batch + 1, view : view + 1], SIZE)
            assert_same(Rendering.stack([rendering[batch, view]]), one[0])


def test_moving_the_world_and_the_camera_together_changes_nothing() -> None:
    """Holds for view-dependent colour as well, which turns with the scene."""
    scene, view = random_scene(40, torch.float64, degree=2), camera(torch.float64)
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    motion[:3, :3] *= torch.linalg.det(motion[:3, :3]).sign()
    motion[:3, 3] = torch.tensor([1.0, -2, 0.5])
    moved = rasterize(scene.transform(motion), Cameras(motion @ view.camera_to_world, view.intrinsics), SIZE)
    assert_same(moved, rasterize(scene, view, SIZE), 1e-9)


def test_harmonics_are_orthonormal() -> None:
    """Degree 4, by quadrature over the sphere: Gauss-Legendre in z, equal steps around."""
    z, weights = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(8))
    angle = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    radius = (1 - z * z).sqrt()[:, None]
    x, y = radius * angle.cos(), radius * angle.sin()
    directions = torch.stack([x, y, z[:, None].expand_as(x)], dim=-1)
    basis = spherical_harmonics(directions, 4)
    products = torch.einsum("zak,zal,z->kl", basis, basis, weights) * (2 * math.pi / 16)
    torch.testing.assert_close(products, torch.eye(25, dtype=torch.float64))


def test_constant_harmonic_alone_can_be_asked_for() -> None:
    scene = random_scene(20, degree=3)
    constant = replace(scene, harmonics=scene.harmonics[:, :, :1])
    assert_same(rasterize(scene, camera(), SIZE, sh_degree=0), rasterize(constant, camera(), SIZE))


def test_no_gaussians_and_no_features() -> None:
    empty = random_scene(0)
    empty.means.requires_grad_()
    rendering = rasterize(empty, camera(), SIZE)
    rendering.image.sum().backward()
    assert (rendering.alpha == 0).all()
    scene = random_scene(10)
    rendering = rasterize(replace(scene, features=None), camera(), SIZE)
    assert rendering.features is None
    torch.testing.assert_close(rendering.image, rasterize(scene, camera(), SIZE).image)


def test_autocast_leaves_the_renderer_alone() -> None:
    scene = random_scene(30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = rasterize(scene, camera(), SIZE)
    assert_same(inside, rasterize(scene, camera(), SIZE), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opacities": torch.ones(1, 10, 1)}, r"opacities: expected \(1, 10\), got \(1, 10, 1\)"),
        ({"rotations": torch.ones(1, 10, 3)}, r"rotations: expected \(1, 10, 4\)"),
        ({"harmonics": torch.ones(1, 10, 5, 3)}, r"harmonics: expected \(degree \+ 1\)\^2"),
        ({"features": torch.ones(10, 4)}, r"features: expected \(1, 10, any\)"),
    ],
)
def test_wrong_shapes_are_named(change: dict[str, Tensor], message: str) -> None:
    scene = random_scene(10)
    for name, tensor in change.items():
        setattr(scene, name, tensor)
    with pytest.raises(ValueError, match=message):
        rasterize(scene, camera(), SIZE)


def test_wrong_arguments_are_named() -> None:
    scene = random_scene(10)
    with pytest.raises(ValueError, match="near"):
        rasterize(scene, camera(), SIZE, near=0)
    with pytest.raises(ValueError, match="sh_degree: expected 0 to 1"):
        rasterize(scene, camera(), SIZE, sh_degree=2)
    with pytest.raises(ValueError, match="camera_to_world"):
        rasterize(scene, Cameras(torch.eye(4)[None, None, :3], torch.eye(3)[None, None]), SIZE)
    with pytest.raises(ValueError, match="gsplat does not take Gaussians on cpu"):
        rasterize(scene, camera(), SIZE, settings=RasterizationSettings(backend="gsplat"))
    with pytest.raises(ValueError, match="tile_size"):
        RasterizationSettings(tile_size=5)


UNDRAWABLE = {
    "mean NaN": {"means": math.nan},
    "mean infinite": {"means": math.inf},
    "mean far beyond": {"means": 1e30},
    "scale NaN": {"scales": math.nan},
    "scale infinite": {"scales": math.inf},
    "scale that overflows": {"scales": 1e20},
    "rotation NaN": {"rotations": math.nan},
    "rotation infinite": {"rotations": -math.inf},
}


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("kind", UNDRAWABLE)
def test_a_gaussian_that_cannot_be_drawn_disturbs_no_other(kind: str, degree: int) -> None:
    torch.manual_seed(0)
    scene = random_scene(12, degree=degree)
    (name, value), position = *UNDRAWABLE[kind].items(), 5
    kept = [index for index in range(12) if index != position]
    broken = getattr(scene, name).clone()
    broken[0, position] = value
    broken.requires_grad_()
    pose = camera().camera_to_world.clone().requires_grad_()
    rendering = rasterize(replace(scene, **{name: broken}), Cameras(pose, camera().intrinsics), SIZE, sh_degree=degree)
    alone = rasterize(scene._map(lambda tensor: tensor[:, kept]), camera(), SIZE, sh_degree=degree)
    assert_same(rendering, alone)
    (rendering.image.sum() + rendering.depth.sum()).backward()
    assert pose.grad is not None and pose.grad.isfinite().all() and pose.grad.abs().sum() > 0
    assert broken.grad is not None and broken.grad.isfinite().all() and (broken.grad[0, position] == 0).all()
