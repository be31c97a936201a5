"""SPZ files (Niantic, version 3): a sixth to a tenth of the PLY's size, read by most web viewers.

A gzip stream of a header and, attribute by attribute, fixed-point numbers. The largest error of a Gaussian is in its

- position: 2^-23 of the next power of two above the scene's largest coordinate, and no less than 2^-21,
- scales: 3.2 % (from e^-10 to e^5.9),
- opacity: 1/510,
- colour: 1/270 (from -0.44 to 1.44),
- rotation: 0.3 degrees,
- harmonics: 1/32 at degree 1, 1/16 above (from -1 to 1).

Semantic features are left out.

Source: https://github.com/nianticlabs/spz (its README and ``load-spz.cc``; facts of the format only).
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import InputError
from common.files import atomic_write
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.single_scene import one_scene_y_up
from uni3r.gaussians.spherical_harmonics import degree_of

_MAGIC, _VERSION = 0x5053474E, 3
_HEADER = struct.Struct("<IIIBBBB")
"""Magic number, version, Gaussians, degree, bits of fractions, flags, nothing."""
_MOST_POINTS = 10_000_000
_COLOUR_SCALE = 0.15
_SCALE_STEP, _SCALE_OFFSET = 16.0, 10.0
_FIRST_DEGREE_STEP, _HIGHER_STEP = 8, 16
_LARGEST_PART = (1 << 9) - 1
"""Largest code of the three smaller parts of a quaternion, each of which is at most the square root of one half."""


def save_spz(path: str | os.PathLike[str], gaussians: Gaussians) -> None:
    """Write one scene, atomically; the module's docstring says what is lost.

    Args:
        path: the ``.spz`` file.
        gaussians: a batch of one scene, x to the right, y down, z forward; degrees above 3 are dropped.

    Raises:
        ValueError: for a batch of several scenes, or more Gaussians than such files hold (10 million).
    """
    scene = one_scene_y_up(gaussians, path)
    count = len(scene.means)
    if count > _MOST_POINTS:
        raise ValueError(f"{path}: an SPZ file holds {_MOST_POINTS:,} Gaussians at most, not {count:,}")
    degree, bits = min(degree_of(scene.harmonics.shape[1]), 3), _fraction_bits(scene.means)
    opacities = scene.opacities.clamp(0, 1) * 255
    colours = scene.harmonics[:, 0] * (_COLOUR_SCALE * 255) + 0.5 * 255
    scales = (scene.scales.clamp_min(1e-12).log() + _SCALE_OFFSET) * _SCALE_STEP
    rest = scene.harmonics[:, 1 : (degree + 1) ** 2]
    with atomic_write(path) as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        packed.write(_HEADER.pack(_MAGIC, _VERSION, count, degree, bits, 0, 0))
        packed.write(_fixed_point(scene.means, bits))
        for column in (opacities, colours, scales):
            packed.write(_bytes(column).tobytes())
        packed.write(_packed_rotations(scene.rotations).tobytes())
        packed.write(_packed_harmonics(rest).tobytes())


def load_spz(path: str | os.PathLike[str]) -> Gaussians:
    """Read a file of version 3, such as `save_spz` writes.

    Returns:
        A batch of one scene, on the CPU, x to the right, y down, z forward.

    Raises:
        InputError: the file is missing, damaged, of another version, or no SPZ file.
    """
    content = _unpacked(Path(path))
    _, _, count, degree, bits, _, _ = _HEADER.unpack_from(content)
    numbers = io.BytesIO(content[_HEADER.size :])

    def column(width: int) -> Tensor:
        values = np.frombuffer(numbers.read(count * width), np.uint8).reshape(count, width)
        return torch.from_numpy(values.astype(np.int64))

    places = column(9).view(count, 3, 3)
    fixed = places[..., 0] + (places[..., 1] << 8) + (places[..., 2] << 16)
    means = (fixed - (fixed >> 23 << 24)).double() / 2**bits
    opacities = column(1)[:, 0] / 255
    constant = (column(3) / 255 - 0.5) / _COLOUR_SCALE
    scales = (column(3) / _SCALE_STEP - _SCALE_OFFSET).exp()
    rotations = _unpacked_rotations(column(4))
    above = (degree + 1) ** 2 - 1
    rest = (column(3 * above).view(count, above, 3) - 128) / 128
    harmonics = torch.cat([constant[:, None], rest], dim=1)
    scene = Gaussians(*(each.float()[None] for each in (means, scales, rotations, opacities, harmonics)))
    return scene.transform(torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])))


def _unpacked(path: Path) -> bytes:
    """The whole content; its length is checked against the header, so a small file cannot unpack to a large one."""
    try:
        with gzip.open(path) as packed:
            head = packed.read(_HEADER.size)
            if len(head) < _HEADER.size or _HEADER.unpack(head)[0] != _MAGIC:
                raise InputError(f"{path} is not an SPZ file of the kind that is packed with gzip")
            _, version, count, degree, bits, _, _ = _HEADER.unpack(head)
            if version != _VERSION or count > _MOST_POINTS or degree > 3 or bits > 24:
                raise InputError(
                    f"{path}: version {version}, {count} Gaussians of degree {degree}, {bits} bits of fractions; "
                    f"expected version {_VERSION}, at most {_MOST_POINTS} Gaussians, degree 3 and 24 bits"
                )
            length = count * (9 + 1 + 3 + 3 + 4 + 3 * ((degree + 1) ** 2 - 1))
            body = packed.read(length + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path} is a damaged SPZ file: {error}") from error
    if len(body) != length:
        raise InputError(f"{path} is a damaged SPZ file: it holds {len(body)} bytes of Gaussians, expected {length}")
    return head + body


def _fraction_bits(means: Tensor) -> int:
    """Bits of 24-bit numbers that go to the fraction: as many as the largest coordinate leaves, 20 at most."""
    largest = float(means.abs().max()) if len(means) else 1.0
    whole = max(0, math.floor(math.log2(largest)) + 1) if largest > 0 else 0
    if whole > 23:
        raise ValueError(f"positions up to {largest:g} do not fit an SPZ file (8,388,607 at most)")
    return min(20, 23 - whole)


def _fixed_point(means: Tensor, bits: int) -> bytes:
    """Nine bytes a Gaussian: three signed 24-bit numbers, little endian."""
    limit = (1 << 23) - 1
    values = (means.double() * 2**bits).round().clamp(-limit - 1, limit).numpy().astype("<i4")
    return np.ascontiguousarray(values.view(np.uint8).reshape(-1, 3, 4)[..., :3]).tobytes()


def _packed_rotations(rotations: Tensor) -> NDArray[np.uint32]:
    """(N,) index of the largest part of (x, y, z, w), then sign and magnitude of the three others, ten bits each."""
    parts = torch.nn.functional.normalize(rotations.double(), dim=-1).roll(-1, dims=-1)
    largest = parts.abs().argmax(dim=-1, keepdim=True)
    parts = parts * torch.where(parts.gather(-1, largest) < 0, -1.0, 1.0)
    codes = (parts.abs() * math.sqrt(2) * _LARGEST_PART).round().clamp(0, _LARGEST_PART).long()
    codes += (parts < 0).long() << 9
    packed = largest[:, 0]
    for part in range(4):
        packed = torch.where(largest[:, 0] == part, packed, (packed << 10) | codes[:, part])
    return packed.numpy().astype("<u4")


def _unpacked_rotations(columns: Tensor) -> Tensor:
    """(N, 4) quaternions (w, x, y, z) of (N, 4) bytes."""
    packed = columns[:, 0] | (columns[:, 1] << 8) | (columns[:, 2] << 16) | (columns[:, 3] << 24)
    largest, parts = packed >> 30, torch.zeros(len(packed), 4, dtype=torch.float64)
    for part in (3, 2, 1, 0):
        other = largest != part
        value = (packed & _LARGEST_PART) / (math.sqrt(2) * _LARGEST_PART) * (1 - 2 * ((packed >> 9) & 1))
        parts[:, part] = torch.where(other, value, 0.0)
        packed = torch.where(other, packed >> 10, packed)
    rest = (1 - parts.square().sum(dim=-1)).clamp_min(0).sqrt()
    parts.scatter_(1, largest[:, None], rest[:, None])
    return parts.roll(1, dims=-1)


def _packed_harmonics(rest: Tensor) -> NDArray[np.uint8]:
    """Bytes of (N, K, 3) coefficients above the constant, in steps: 5 bits for degree 1, 4 for the others."""
    steps = torch.full((rest.shape[1], 1), _HIGHER_STEP)
    steps[:3] = _FIRST_DEGREE_STEP
    return _bytes(((rest * 128 + 128) / steps).round() * steps)


def _bytes(values: Tensor) -> NDArray[np.uint8]:
    return values.round().clamp(0, 255).to(torch.uint8).numpy()
