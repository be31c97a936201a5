"""Reading the vertices of PLY files as programs write them: ASCII, little-endian or big-endian."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_NUMPY_TYPES = {
    "i1": ("char", "int8"),
    "u1": ("uchar", "uint8"),
    "i2": ("short", "int16"),
    "u2": ("ushort", "uint16"),
    "i4": ("int", "int32"),
    "u4": ("uint", "uint32"),
    "f4": ("float", "float32"),
    "f8": ("double", "float64"),
}
_NUMPY_TYPE = {name: code for code, names in _NUMPY_TYPES.items() for name in names}
_BYTE_ORDER = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "<"}
_END = re.compile(rb"end_header[ \t]*(\r\n|\n|\r)")
_PACKERS = {b"\x1f\x8b": "gzip", b"PK": "zip", b"\x28\xb5\x2f\xfd": "zstandard"}


def read_vertices(path: str | os.PathLike[str]) -> NDArray[np.void]:
    """All properties of the vertices of a PLY whose first element is `vertex`, in the byte order of this machine.

    Raises:
        ValueError: naming the file, when it is of another kind or cut short.
        OSError: it cannot be read.
    """
    data = Path(path).read_bytes()
    for beginning, packer in _PACKERS.items():
        if data.startswith(beginning):
            raise ValueError(f"{path} is packed by {packer}: unpack it first")
    end = _END.search(data)
    if not data.startswith(b"ply") or end is None:
        raise ValueError(f"{path} is not a PLY file")
    kind, count, types = _parse_header(data[: end.start()].decode("latin1"), path)
    body = memoryview(data)[end.end() :]
    if kind == "ascii":
        return _read_ascii(bytes(body), count, types, path)
    if len(body) < count * types.itemsize:
        raise ValueError(f"{path} is cut short: {len(body)} bytes for {count} points")
    rows = np.frombuffer(body, types, count)
    return rows if kind == "binary_little_endian" else rows.astype(types.newbyteorder("<"))


def _parse_header(header: str, path: str | os.PathLike[str]) -> tuple[str, int, np.dtype]:
    """Format, number of vertices and their record type."""
    lines = [
        words for line in header.splitlines() if (words := line.split()) and words[0] not in ("comment", "obj_info")
    ]
    kind = next((words[1] for words in lines if words[0] == "format" and len(words) > 1), "none")
    if kind not in _BYTE_ORDER:
        raise ValueError(f"{path} has the format {kind}, expected one of {', '.join(_BYTE_ORDER)}")
    elements = [i for i, words in enumerate(lines) if words[0] == "element"]
    if not elements or lines[elements[0]][1:2] != ["vertex"]:
        if any(words[-1].startswith("packed_") for words in lines):
            raise ValueError(f"{path} is a compressed PLY of SuperSplat: export it from there as a plain one")
        raise ValueError(f"{path} does not begin with vertices")
    end = elements[1] if len(elements) > 1 else len(lines)
    properties = [words for words in lines[elements[0] + 1 : end] if words[0] == "property"]
    if any(words[1] == "list" for words in properties):
        raise ValueError(f"{path} has lists in its vertices")
    try:
        types = np.dtype([(words[2], _BYTE_ORDER[kind] + _NUMPY_TYPE[words[1]]) for words in properties])
        count = int(lines[elements[0]][2])
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(f"{path} has a header that is not as documented ({error})") from error
    if count < 0 or not properties:
        raise ValueError(f"{path} says that it has {count} vertices of {len(properties)} properties")
    return kind, count, types


def _read_ascii(body: bytes, count: int, types: np.dtype, path: str | os.PathLike[str]) -> NDArray[np.void]:
    width = len(types.names or ())
    words = body.split()
    if len(words) < count * width:
        raise ValueError(f"{path} is cut short: {len(words)} numbers for {count} points of {width}")
    try:
        table = np.array(words[: count * width], np.float64).reshape(count, width)
    except ValueError as error:
        raise ValueError(f"{path} has something other than numbers among its points ({error})") from error
    rows = np.empty(count, types)
    for column, name in enumerate(types.names or ()):
        rows[name] = table[:, column].astype(types[name])
    return rows
