"""Gaussians on disk: round trips, the layout other viewers read, and files that are no such thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.export.ply import write_ply
from common.export.ply_reading import read_vertices
from uni3r.gaussians.files import load_ply, save_ply, save_splat
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.spherical_harmonics import CONSTANT


def _scene(count: int = 12, degree: int = 2, features: int | None = 5) -> Gaussians:
    return Gaussians(
        means=torch.randn(1, count, 3),
        scales=torch.rand(1, count, 3) + 1e-3,
        rotations=torch.randn(1, count, 4),
        opacities=torch.rand(1, count),
        harmonics=torch.randn(1, count, (degree + 1) ** 2, 3),
        features=None if features is None else torch.randn(1, count, features),
    )


@pytest.mark.parametrize(("degree", "features"), [(0, None), (1, 3), (3, 64)])
def test_round_trip(tmp_path: Path, degree: int, features: int | None) -> None:
    scene = _scene(degree=degree, features=features)
    save_ply(tmp_path / "scene.ply", scene)
    back = load_ply(tmp_path / "scene.ply")
    for name in ("means", "rotations", "harmonics", "features"):
        expected, found = getattr(scene, name), getattr(back, name)
        assert (expected is None and found is None) or torch.equal(found, expected), name
    torch.testing.assert_close(back.scales, scene.scales)
    torch.testing.assert_close(back.opacities, scene.opacities, rtol=1e-4, atol=1e-5)


def test_the_properties_are_those_of_3d_gaussian_splatting(tmp_path: Path) -> None:
    scene = _scene(degree=1)
    save_ply(tmp_path / "scene.ply", scene, with_features=False)
    rows = read_vertices(tmp_path / "scene.ply")
    rest = [f"f_rest_{index}" for index in range(9)]
    expected = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, "opacity"]
    assert list(rows.dtype.names) == [*expected, "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    # All of red, then green, then blue; logits and logarithms; the scalar of the quaternion first.
    np.testing.assert_array_equal(rows["f_rest_2"], scene.harmonics[0, :, 3, 0])
    np.testing.assert_array_equal(rows["f_rest_3"], scene.harmonics[0, :, 1, 1])
    np.testing.assert_allclose(1 / (1 + np.exp(-rows["opacity"])), scene.opacities[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.exp(rows["scale_1"]), scene.scales[0, :, 1], rtol=1e-5)
    np.testing.assert_array_equal(rows["rot_0"], scene.rotations[0, :, 0])


def test_extreme_values_stay_finite(tmp_path: Path) -> None:
    scene = _scene(3, degree=0)
    scene.opacities = torch.tensor([[0.0, 0.5, 1.0]])
    scene.scales[0, 0] = 0
    save_ply(tmp_path / "scene.ply", scene)
    back = load_ply(tmp_path / "scene.ply")
    torch.testing.assert_close(back.opacities, scene.opacities, rtol=0, atol=1e-5)
    assert all(np.isfinite(read_vertices(tmp_path / "scene.ply")[name]).all() for name in ("opacity", "scale_0"))


def test_splat_records(tmp_path: Path) -> None:
    scene = _scene(2, degree=1)
    scene.means = torch.tensor([[[1.0, 2, 3], [4, 5, 6]]])
    scene.scales = torch.tensor([[[0.1, 0.1, 0.1], [1.0, 2.0, 3.0]]])
    scene.rotations = torch.tensor([[[1.0, 0, 0, 0], [0, 0, 0, -2.0]]])
    scene.opacities = torch.tensor([[1.0, 0.5]])
    scene.harmonics[0, :, 0] = (torch.tensor([[1.0, 0, 0], [0.5, 2.0, 0.25]]) - 0.5) / CONSTANT
    save_splat(tmp_path / "scene.splat", scene)
    content = (tmp_path / "scene.splat").read_bytes()
    assert len(content) == 64
    # The larger Gaussian comes first.
    np.testing.assert_array_equal(np.frombuffer(content[:24], "<f4"), np.float32([4, 5, 6, 1, 2, 3]))
    assert list(content[24:32]) == [128, 255, 64, 128, 128, 128, 128, 0]
    assert list(content[56:64]) == [255, 0, 0, 255, 255, 128, 128, 128]


def test_what_is_no_scene(tmp_path: Path) -> None:
    write_ply(tmp_path / "cloud.ply", np.zeros((4, 3)))
    with pytest.raises(InputError, match=r"cloud\.ply is not a PLY of Gaussians: it lacks f_dc_0"):
        load_ply(tmp_path / "cloud.ply")
    with pytest.raises(InputError, match=r"absent\.ply"):
        load_ply(tmp_path / "absent.ply")
    two = Gaussians.stack([_scene()[0], _scene()[0]])
    with pytest.raises(ValueError, match="one scene"):
        save_ply(tmp_path / "two.ply", two)
    assert not (tmp_path / "two.ply").exists()


@pytest.mark.parametrize("field", ["means", "scales", "rotations", "opacities", "harmonics"])
def test_gaussians_that_are_not_finite_are_left_out_with_a_count(
    tmp_path: Path, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene = _scene()
    getattr(scene, field)[0, 1] = float("nan")
    save_ply(tmp_path / "a.ply", scene)
    assert load_ply(tmp_path / "a.ply").count == scene.count - 1
    assert f"1 of {scene.count} Gaussians are not finite" in caplog.text
