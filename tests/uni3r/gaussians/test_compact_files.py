"""SPZ and glTF files: round trips within the stated errors, and what other programs read in them."""

from __future__ import annotations

import gzip
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import InputError
from uni3r.gaussians.files import save_ply
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.gltf import save_glb
from uni3r.gaussians.spherical_harmonics import CONSTANT, spherical_harmonics
from uni3r.gaussians.spz import load_spz, save_spz

COUNT = 300


@pytest.fixture(scope="module")
def scene() -> Gaussians:
    """Values of the sizes that scenes have: metres, centimetres, moderate harmonics."""
    torch.manual_seed(0)
    return Gaussians(
        means=3 * torch.randn(1, COUNT, 3),
        scales=(2 * torch.randn(1, COUNT, 3) - 3).exp().clamp(5e-5, 300),
        rotations=torch.randn(1, COUNT, 4),
        opacities=torch.rand(1, COUNT),
        harmonics=(0.3 * torch.randn(1, COUNT, 16, 3)).clamp(-0.9, 0.9),
        features=torch.randn(1, COUNT, 4),
    )


def angles(found: Tensor, expected: Tensor) -> Tensor:
    """Degrees between quaternions of any length and sign."""
    unit = [torch.nn.functional.normalize(each.double(), dim=-1) for each in (found, expected)]
    return 2 * (unit[0] * unit[1]).sum(dim=-1).abs().clamp(max=1).acos() * 180 / math.pi


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz_round_trip_within_the_stated_errors(scene: Gaussians, degree: int, tmp_path: Path) -> None:
    given = Gaussians(**{**vars(scene), "harmonics": scene.harmonics[:, :, : (degree + 1) ** 2]})
    save_spz(tmp_path / "scene.spz", given)
    back = load_spz(tmp_path / "scene.spz")
    assert back.features is None and back.harmonics.shape == given.harmonics.shape
    power = 2.0 ** math.ceil(math.log2(float(given.means.abs().max())))
    assert (back.means - given.means).abs().max() <= power * 2.0**-23
    assert (back.scales / given.scales).log().abs().max() <= 1 / 32 + 1e-5
    assert (back.opacities - given.opacities).abs().max() <= 1 / 510 + 1e-6
    assert angles(back.rotations, given.rotations).max() <= 0.3
    seen = torch.nn.functional.normalize(torch.randn(64, 3), dim=-1)
    basis = spherical_harmonics(seen, degree)
    # Axes are turned for the file and back, which mixes the harmonics of a degree: errors are compared in colours.
    error = torch.einsum("dk,bnkc->bndc", basis, back.harmonics - given.harmonics).abs().max()
    bound = CONSTANT / 76.5 + sum((2 * d + 1) * (1 / 32 if d == 1 else 1 / 16) for d in range(1, degree + 1))
    assert error <= bound
    assert (CONSTANT * (back.harmonics - given.harmonics)[:, :, 0]).abs().max() <= 1 / 270


def test_an_spz_file_is_much_smaller_than_the_ply(scene: Gaussians, tmp_path: Path) -> None:
    many = scene._map(lambda tensor: tensor.repeat(1, 10, *[1] * (tensor.ndim - 2)))
    save_ply(tmp_path / "scene.ply", many, with_features=False)
    save_spz(tmp_path / "scene.spz", many)
    assert (tmp_path / "scene.spz").stat().st_size < (tmp_path / "scene.ply").stat().st_size / 4  # noise packs badly


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_another_program_reads_the_spz_as_it_reads_the_ply(scene: Gaussians, degree: int, tmp_path: Path) -> None:
    """GaussForge, with Niantic's own library: positions, shapes, opacities and colours of both files agree.

    It leaves the axes as they are in a file, so the PLY is written with those of SPZ. (It reads no degree 0.)
    """
    gaussforge = pytest.importorskip("gaussforge", reason="reads the files independently: pip install gaussforge")
    given = Gaussians(**{**vars(scene), "harmonics": scene.harmonics[:, :, : (degree + 1) ** 2]})
    turned = given.transform(torch.diag(torch.tensor([1.0, -1, -1, 1])))
    save_ply(tmp_path / "scene.ply", turned, with_features=False)
    save_spz(tmp_path / "scene.spz", given)

    def read(kind: str) -> dict[str, Tensor]:
        result = gaussforge.GaussForge().read((tmp_path / f"scene.{kind}").read_bytes(), kind)
        assert "error" not in result, result
        content = result["data"]
        assert content["meta"]["shDegree"] == degree
        names = ("positions", "scales", "rotations", "alphas", "colors", "sh")
        return {name: torch.from_numpy(np.frombuffer(content[name], "<f4").copy()).view(COUNT, -1) for name in names}

    ours, reference = read("spz"), read("ply")
    assert (ours["positions"] - reference["positions"]).abs().max() < 1e-5
    assert (ours["scales"] - reference["scales"]).abs().max() <= 1 / 32 + 1e-5
    assert (ours["alphas"].sigmoid() - reference["alphas"].sigmoid()).abs().max() <= 1 / 510 + 1e-5
    assert (ours["colors"] - reference["colors"]).abs().max() <= 1 / 76.5 + 1e-5
    assert angles(ours["rotations"], reference["rotations"]).max() <= 0.3
    if degree:
        first = [each["sh"].view(COUNT, -1, 3)[:, :3] for each in (ours, reference)]
        assert (first[0] - first[1]).abs().max() <= 1 / 32 + 1 / 128
        assert (ours["sh"] - reference["sh"]).abs().max() <= 1 / 16 + 1 / 128


def test_positions_use_the_bits_that_the_scene_leaves(scene: Gaussians, tmp_path: Path) -> None:
    for factor in (0.01, 1.0, 1e4):
        moved = Gaussians(**{**vars(scene), "means": scene.means * factor})
        save_spz(tmp_path / "scene.spz", moved)
        error = (load_spz(tmp_path / "scene.spz").means - moved.means).abs().max()
        assert error <= max(2.0**-20, 2e-7 * float(moved.means.abs().max()))
    with pytest.raises(ValueError, match="do not fit an SPZ file"):
        save_spz(tmp_path / "far.spz", Gaussians(**{**vars(scene), "means": scene.means * 1e8}))
    assert not (tmp_path / "far.spz").exists()


def test_files_that_are_no_spz_are_refused(scene: Gaussians, tmp_path: Path) -> None:
    save_spz(tmp_path / "scene.spz", scene)
    content = gzip.decompress((tmp_path / "scene.spz").read_bytes())

    def refused(data: bytes, reason: str) -> None:
        (tmp_path / "bad.spz").write_bytes(data)
        with pytest.raises(InputError, match=reason) as caught:
            load_spz(tmp_path / "bad.spz")
        assert "bad.spz" in str(caught.value) and "\n" not in str(caught.value)

    refused(b"no gzip at all", "Not a gzipped file")
    refused(gzip.compress(b"something else, long enough"), "is not an SPZ file")
    refused(gzip.compress(content[:-1]), "damaged SPZ file: it holds .* expected")
    refused(gzip.compress(content + b"\0"), "damaged SPZ file")
    refused(gzip.compress(content)[:-40], "damaged SPZ file")
    refused(gzip.compress(content[:8] + struct.pack("<I", 2**31) + content[12:]), "at most 10000000 Gaussians")
    refused(gzip.compress(content[:4] + struct.pack("<I", 4) + content[8:]), "expected version 3")
    with pytest.raises(InputError, match="No such file"):
        load_spz(tmp_path / "none.spz")


def glb_columns(file: Path) -> tuple[dict, dict[str, Tensor]]:
    """The document of a GLB file, and its attributes, by the rules of glTF alone."""
    content = file.read_bytes()
    magic, version, total, length, kind = struct.unpack_from("<4sIII4s", content)
    assert (magic, version, total, kind) == (b"glTF", 2, len(content), b"JSON") and length % 4 == 0
    document, start = json.loads(content[20 : 20 + length]), 28 + length
    assert content[24 + length : start] == b"BIN\0"
    columns = {}
    for name, number in document["meshes"][0]["primitives"][0]["attributes"].items():
        accessor = document["accessors"][number]
        view = document["bufferViews"][accessor["bufferView"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        dtype = {5126: "<f4", 5121: "u1"}[accessor["componentType"]]
        values = np.frombuffer(content, dtype, accessor["count"] * width, start + view["byteOffset"])
        columns[name] = torch.from_numpy(values.copy()).view(-1, width)
    return document, columns


def test_gltf_has_the_attributes_of_the_extension_unrounded(scene: Gaussians, tmp_path: Path) -> None:
    save_glb(tmp_path / "scene.glb", scene)
    document, columns = glb_columns(tmp_path / "scene.glb")
    assert document["extensionsUsed"] == ["KHR_gaussian_splatting"]
    assert document["meshes"][0]["primitives"][0]["mode"] == 0
    flip = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    turned = scene.transform(flip)
    prefix = "KHR_gaussian_splatting:"
    torch.testing.assert_close(columns["POSITION"], scene.means[0] * torch.tensor([1.0, -1, -1]))
    torch.testing.assert_close(columns[f"{prefix}SCALE"], scene.scales[0])  # neither logarithms
    torch.testing.assert_close(columns[f"{prefix}OPACITY"][:, 0], scene.opacities[0])  # nor logits
    assert angles(columns[f"{prefix}ROTATION"].roll(1, dims=-1), turned.rotations[0]).max() < 0.05
    rest = [columns[f"{prefix}SH_DEGREE_{d}_COEF_{n}"] for d in range(4) for n in range(2 * d + 1)]
    torch.testing.assert_close(torch.stack(rest, dim=1), turned.harmonics[0])
    colour = (scene.harmonics[0, :, 0] * CONSTANT + 0.5).clamp(0, 1)
    assert (columns["COLOR_0"][:, :3] / 255 - colour).abs().max() <= 0.5 / 255 + 1e-6


def test_a_program_without_the_extension_shows_points(scene: Gaussians, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    save_glb(tmp_path / "scene.glb", scene)
    (cloud,) = trimesh.load(tmp_path / "scene.glb").geometry.values()
    assert isinstance(cloud, trimesh.PointCloud)
    np.testing.assert_allclose(cloud.vertices, scene.means[0] * torch.tensor([1.0, -1, -1]), rtol=1e-6)


def test_a_file_without_gaussians_and_a_batch_are_refused(scene: Gaussians, tmp_path: Path) -> None:
    none = scene._map(lambda tensor: torch.full_like(tensor, torch.nan))
    with pytest.raises(ValueError, match="no finite Gaussian"):
        save_glb(tmp_path / "none.glb", none)
    save_spz(tmp_path / "none.spz", none)
    assert load_spz(tmp_path / "none.spz").count == 0
    for save in (save_glb, save_spz):
        with pytest.raises(ValueError, match="a file holds one scene"):
            save(tmp_path / "two", scene._map(lambda tensor: tensor.expand(2, *tensor.shape[1:])))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none.spz"]
