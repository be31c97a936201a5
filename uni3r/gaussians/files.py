"""Files of Gaussians: the PLY of 3D Gaussian splatting, which viewers and editors open, and the compact ``.splat``.

The PLY (Kerbl et al. 2023) holds float32 properties per Gaussian: ``x y z nx ny nz f_dc_0..2 f_rest_* opacity
scale_0..2 rot_0..3``. Opacities are stored as logits and scales as logarithms; ``f_rest`` has all coefficients of red,
then green, then blue; ``rot`` is (w, x, y, z). Semantic features, if any, follow as ``semantic_0`` and so on;
other readers ignore them.

A ``.splat`` has 32 bytes per Gaussian, in falling order of size times opacity: position (3 float32), scale (3 float32),
colour and opacity (4 uint8), quaternion (w, x, y, z) as 4 uint8 around 128. Directional colour and features are lost.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.export.gaussian_ply import (
    CONSTANT_COLOR,
    POSITION,
    REST,
    ROTATION,
    SCALE,
    SEMANTIC,
    read_gaussian_ply,
)
from common.files import atomic_write
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.single_scene import base_colours, one_scene

_SMALLEST_SCALE = 1e-12
_OPACITY_MARGIN = 1e-6
"""Opacities are clamped by this much from 0 and 1, whose logits are infinite."""


def save_ply(path: str | os.PathLike[str], gaussians: Gaussians, with_features: bool = True) -> None:
    """Write one scene, atomically. Gaussians that are not finite are left out, with a warning.

    Args:
        path: the ``.ply`` file.
        gaussians: a batch of one scene.
        with_features: also write the semantic features, if any.

    Raises:
        ValueError: for a batch of several scenes.
    """
    columns = _columns(one_scene(gaussians, path), with_features)
    rows = np.empty(len(columns["x"]), [(name, "<f4") for name in columns])
    for name, values in columns.items():
        rows[name] = values
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    lines += [f"property float {name}" for name in columns]
    with atomic_write(path) as file:
        file.write(("\n".join([*lines, "end_header"]) + "\n").encode("ascii"))
        file.write(rows.tobytes())


def load_ply(path: str | os.PathLike[str]) -> Gaussians:
    """Read a scene written by 3D Gaussian splatting, `save_ply` or any editor of such files.

    Returns:
        A batch of one scene, on the CPU.

    Raises:
        InputError: the file is missing, not a PLY, or lacks properties of a Gaussian.
    """
    read = read_gaussian_ply(path)
    features = None if read.features is None else torch.from_numpy(read.features)[None]
    return Gaussians(
        means=torch.from_numpy(read.means)[None],
        scales=torch.from_numpy(read.scales)[None],
        rotations=torch.from_numpy(read.rotations)[None],
        opacities=torch.from_numpy(read.opacities)[None],
        harmonics=torch.from_numpy(read.harmonics)[None],
        features=features,
    )


def save_splat(path: str | os.PathLike[str], gaussians: Gaussians) -> None:
    """Write one scene as ``.splat``, atomically; the module's docstring says what is lost.

    Raises:
        ValueError: for a batch of several scenes.
    """
    scene = one_scene(gaussians, path)
    quaternion = torch.nn.functional.normalize(scene.rotations, dim=-1)
    rows = np.empty(
        len(scene.means), [("position", "<f4", 3), ("scale", "<f4", 3), ("colour", "u1", 4), ("rotation", "u1", 4)]
    )
    rows["position"], rows["scale"] = scene.means.numpy(), scene.scales.numpy()
    rows["colour"] = _bytes(torch.cat([base_colours(scene), scene.opacities[:, None]], dim=-1) * 255)
    rows["rotation"] = _bytes(quaternion * 128 + 128)
    importance = scene.scales.prod(dim=-1) * scene.opacities
    with atomic_write(path) as file:
        file.write(rows[importance.argsort(descending=True).numpy()].tobytes())


def _columns(scene: Gaussians, with_features: bool) -> dict[str, NDArray]:
    """Property name to its (N,) values, in the order of the file."""
    opacities = scene.opacities.double().clamp(_OPACITY_MARGIN, 1 - _OPACITY_MARGIN)
    rest = scene.harmonics[:, 1:].mT.flatten(1)  # colour by colour
    groups: list[tuple[tuple[str, ...], Tensor]] = [
        (POSITION, scene.means),
        (("nx", "ny", "nz"), torch.zeros_like(scene.means)),  # no meaning, but readers expect them
        (CONSTANT_COLOR, scene.harmonics[:, 0]),
        (tuple(f"{REST}{index}" for index in range(rest.shape[1])), rest),
        (("opacity",), opacities.logit()[:, None]),
        (SCALE, scene.scales.clamp(min=_SMALLEST_SCALE).log()),
        (ROTATION, scene.rotations),
    ]
    if with_features and scene.features is not None:
        groups.append((tuple(f"{SEMANTIC}{index}" for index in range(scene.features.shape[1])), scene.features))
    return {name: values[:, column].numpy() for names, values in groups for column, name in enumerate(names)}


def _bytes(values: Tensor) -> NDArray[np.uint8]:
    return values.round().clamp(0, 255).to(torch.uint8).numpy()
