"""Point clouds and meshes as binary PLY files: positions, colours and, optionally, confidences.

`PlyWriter` streams: clouds larger than memory are appended in chunks and the header's count is filled in at the end.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.export.ply_reading import read_vertices
from common.files import atomic_write

_POSITION = ("x", "y", "z")
_COLOR = ("red", "green", "blue")
_CONFIDENCE = "confidence"
_COUNT_DIGITS = 20


@dataclass(frozen=True)
class PointCloud:
    """Points with optional colours and confidences."""

    points: NDArray[np.float32]
    """(N, 3)."""
    colors: NDArray[np.uint8] | None = None
    """(N, 3) RGB."""
    confidence: NDArray[np.float32] | None = None
    """(N,)."""


class PlyWriter:
    """Writes a cloud chunk by chunk; a context manager. The file appears when the block ends without an exception.

    Args:
        path: of the .ply file.
        with_color: every chunk brings colours.
        with_confidence: every chunk brings confidences.
    """

    def __init__(self, path: str | os.PathLike[str], with_color: bool = True, with_confidence: bool = False) -> None:
        self.count = 0
        """Points written so far."""
        self._path = path
        self._with_color = with_color
        self._with_confidence = with_confidence
        types = [(name, "<f4") for name in _POSITION]
        types += [(name, "u1") for name in _COLOR] if with_color else []
        types += [(_CONFIDENCE, "<f4")] if with_confidence else []
        self._type = np.dtype(types)
        self._stack = ExitStack()
        self._file: IO[Any] | None = None

    def __enter__(self) -> PlyWriter:
        self._file = self._stack.enter_context(atomic_write(self._path, "wb"))
        self._stack.push(self._fill_in_count)  # runs before the file is closed and moved into place
        self._file.write(self._header())
        return self

    def append(self, points: ArrayLike, colors: ArrayLike | None = None, confidence: ArrayLike | None = None) -> None:
        """Add points.

        Args:
            points: (..., 3).
            colors: (..., 3) uint8 RGB.
            confidence: (...).
        """
        if self._file is None:
            raise RuntimeError("append outside of the writer's with block")
        if (colors is not None) != self._with_color or (confidence is not None) != self._with_confidence:
            raise ValueError("colours and confidences must be given as the writer was told")
        positions = np.asarray(points, np.float32).reshape(-1, 3)
        rows = np.empty(len(positions), self._type)
        _fill(rows, _POSITION, positions)
        if colors is not None:
            shades = np.asarray(colors)
            if shades.dtype != np.uint8:
                raise TypeError(f"colours must be uint8, not {shades.dtype}")
            _fill(rows, _COLOR, shades.reshape(len(rows), 3))
        if confidence is not None:
            rows[_CONFIDENCE] = np.asarray(confidence, np.float32).reshape(len(rows))
        self._file.write(rows.tobytes())
        self.count += len(rows)

    def __exit__(self, kind, error, traceback) -> None:
        self._stack.__exit__(kind, error, traceback)

    def _fill_in_count(self, kind, error, traceback) -> None:
        file, self._file = self._file, None
        if kind is None and file is not None:
            file.seek(0)
            file.write(self._header())

    def _header(self) -> bytes:
        """A header of the same length for every count: what the count does not need goes to a comment."""
        names = {"<f4": "float", "|u1": "uchar"}
        padding = " " * (_COUNT_DIGITS - len(str(self.count)))
        lines = ["ply", "format binary_little_endian 1.0", f"comment padding{padding}", f"element vertex {self.count}"]
        lines += [f"property {names[self._type[name].str]} {name}" for name in self._type.names or ()]
        return ("\n".join([*lines, "end_header"]) + "\n").encode("ascii")


def _fill(rows: NDArray, names: tuple[str, ...], values: NDArray) -> None:
    for column, name in enumerate(names):
        rows[name] = values[:, column]


def write_ply(
    path: str | os.PathLike[str],
    points: ArrayLike,
    colors: ArrayLike | None = None,
    confidence: ArrayLike | None = None,
) -> None:
    """Write a cloud: points (..., 3), colours (..., 3) uint8 RGB, confidences (...)."""
    with PlyWriter(path, colors is not None, confidence is not None) as writer:
        writer.append(points, colors, confidence)


def write_mesh_ply(path: str | os.PathLike[str], vertices: ArrayLike, triangles: ArrayLike, colors: ArrayLike) -> None:
    """Write a mesh: vertices (V, 3), triangles (T, 3) of their rows, colours (V, 3) uint8 RGB."""
    positions, corners = np.asarray(vertices, np.float32).reshape(-1, 3), np.asarray(triangles, "<i4").reshape(-1, 3)
    rows = np.empty(len(positions), [*((name, "<f4") for name in _POSITION), *((name, "u1") for name in _COLOR)])
    _fill(rows, _POSITION, positions)
    _fill(rows, _COLOR, np.asarray(colors, np.uint8).reshape(-1, 3))
    faces = np.empty(len(corners), [("count", "u1"), ("corners", "<i4", (3,))])
    faces["count"], faces["corners"] = 3, corners
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [*(f"property float {name}" for name in _POSITION), *(f"property uchar {name}" for name in _COLOR)]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    with atomic_write(path, "wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        file.write(rows.tobytes())
        file.write(faces.tobytes())


def read_ply(path: str | os.PathLike[str]) -> PointCloud:
    """Read positions, and colours and confidences where there are any, from a PLY; see `read_vertices`."""
    rows = read_vertices(path)
    fields = rows.dtype.names or ()
    missing = set(_POSITION) - set(fields)
    if missing:
        raise ValueError(f"{path} has vertices without {', '.join(sorted(missing))}")
    return PointCloud(
        points=np.stack([rows[name] for name in _POSITION], axis=1).astype(np.float32),
        colors=np.stack([rows[name] for name in _COLOR], axis=1) if set(_COLOR) <= set(fields) else None,
        confidence=rows[_CONFIDENCE].astype(np.float32) if _CONFIDENCE in fields else None,
    )
