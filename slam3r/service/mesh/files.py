"""A mesh in a file, between the process that makes it and the worker that writes and publishes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.files import atomic_path


@dataclass(frozen=True)
class TimedMesh:
    """A triangle mesh of a world."""

    timestamp_ns: int
    """Timestamp of the newest frame in it."""
    vertices: NDArray[np.float32]
    """(V, 3) world."""
    triangles: NDArray[np.int32]
    """(T, 3) indices of vertices."""
    colors: NDArray[np.uint8]
    """(V, 3) RGB."""


def write_mesh_file(path: str | os.PathLike[str], timestamp_ns: int, arrays: Mapping[str, NDArray]) -> None:
    """Write vertices, triangles and colours; the file is complete or absent."""
    with atomic_path(path) as temporary:
        kept = {name: arrays[name] for name in ("vertices", "triangles", "colors")}
        np.savez(temporary, allow_pickle=False, timestamp_ns=np.int64(timestamp_ns), **kept)


def read_mesh_file(path: Path) -> TimedMesh:
    """Read what `write_mesh_file` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return TimedMesh(int(file["timestamp_ns"]), file["vertices"], file["triangles"], file["colors"])
