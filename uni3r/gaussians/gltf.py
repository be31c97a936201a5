"""Binary glTF files with the extension ``KHR_gaussian_splatting``: nothing is rounded, and a program that does not know
the extension shows coloured points.

Positions, rotations (x, y, z, w), scales, opacities and harmonics are float32 attributes of a primitive of points;
scales and opacities are stored as they are, not as logarithms or logits. Axes: x to the right, y up, z backwards.
Semantic features are left out.

Source: Khronos Group, glTF extension KHR_gaussian_splatting. A draft stored logarithms of scales; programs that write
and read such files (PlayCanvas) take the scales themselves.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.files import atomic_write
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.single_scene import base_colours, one_scene_y_up
from uni3r.gaussians.spherical_harmonics import degree_of

EXTENSION = "KHR_gaussian_splatting"
_FLOAT, _UNSIGNED_BYTE, _ARRAY_BUFFER, _POINTS = 5126, 5121, 34962, 0
_KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


def save_glb(path: str | os.PathLike[str], gaussians: Gaussians) -> None:
    """Write one scene, atomically.

    Args:
        path: the ``.glb`` file.
        gaussians: a batch of one scene, x to the right, y down, z forward; degrees above 3 are dropped.

    Raises:
        ValueError: for a batch of several scenes, none with Gaussians, or more than such a file can hold (4 GiB).
    """
    scene = one_scene_y_up(gaussians, path)
    if len(scene.means) == 0:
        raise ValueError(f"{path}: glTF has no primitive without points, and there is no finite Gaussian")
    columns = _attributes(scene)
    document = json.dumps(_document(columns), separators=(",", ":")).encode()
    document += b" " * (-len(document) % 4)
    size = sum(values.nbytes for values in columns.values())
    total = 12 + 8 + len(document) + 8 + size
    if total >= 1 << 32:
        raise ValueError(f"{path}: {len(scene.means):,} Gaussians need {total:,} bytes, a GLB file holds 4 GiB")
    with atomic_write(path) as file:
        file.write(struct.pack("<4sII", b"glTF", 2, total))
        file.write(struct.pack("<I4s", len(document), b"JSON") + document)
        file.write(struct.pack("<I4s", size, b"BIN\0"))
        for values in columns.values():
            file.write(values.tobytes())


def _attributes(scene: Gaussians) -> dict[str, NDArray[Any]]:
    """Name of the attribute to its (N, channels) values, in the order of the file; rows are multiples of 4 bytes."""
    colours = torch.cat([base_colours(scene), scene.opacities[:, None]], dim=-1).clamp(0, 1) * 255
    columns: dict[str, NDArray[Any]] = {
        "POSITION": scene.means.numpy(),
        "COLOR_0": colours.round().to(torch.uint8).numpy(),
        f"{EXTENSION}:ROTATION": torch.nn.functional.normalize(scene.rotations, dim=-1).roll(-1, dims=-1).numpy(),
        f"{EXTENSION}:SCALE": scene.scales.numpy(),
        f"{EXTENSION}:OPACITY": scene.opacities.clamp(0, 1)[:, None].numpy(),
    }
    for degree in range(min(degree_of(scene.harmonics.shape[1]), 3) + 1):
        for number in range(2 * degree + 1):
            name = f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{number}"
            columns[name] = scene.harmonics[:, degree**2 + number].numpy()
    return {name: np.ascontiguousarray(values) for name, values in columns.items()}


def _document(columns: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The JSON part."""
    views, accessors, offset = [], [], 0
    for number, (name, values) in enumerate(columns.items()):
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": values.nbytes, "target": _ARRAY_BUFFER})
        offset += values.nbytes
        is_bytes = values.dtype == np.uint8
        accessor = {"bufferView": number, "count": len(values), "type": _KINDS[values.shape[1]]}
        accessor |= {"componentType": _UNSIGNED_BYTE, "normalized": True} if is_bytes else {"componentType": _FLOAT}
        if name == "POSITION":
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        accessors.append(accessor)
    look = {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
        "sortingMethod": "cameraDistance",
        "projection": "perspective",
    }
    primitive = {
        "attributes": {name: number for number, name in enumerate(columns)},
        "mode": _POINTS,
        "extensions": {EXTENSION: look},
    }
    return {
        "asset": {"version": "2.0", "generator": "uni3r"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": offset}],
        "bufferViews": views,
        "accessors": accessors,
    }
