"""Bytes of a message and back: msgpack, optional zstd, arrays as raw little-endian bytes with dtype and shape.

Decoding is bounded: sizes and the number of objects are checked before memory is taken, only listed dtypes are known,
and nothing is executed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import zstandard
from numpy.typing import NDArray

from slam3r.service.wire.bounds import check_structure
from slam3r.service.wire.errors import MessageError

CONTENT_TYPE = "application/msgpack"
ZSTD = "zstd"
DTYPES = ("|u1", "<u2", "<i4", "<i8", "<f2", "<f4", "<f8")
"""NumPy names of the dtypes that travel."""
MAX_AXES = 4
_PIECE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of a reader."""

    message_bytes: int = 64 << 20
    """Size of a message, before and after decompression."""


def pack(fields: Mapping[str, Any], compress: bool = False) -> tuple[bytes, str | None]:
    """Encode a mapping of plain values and NumPy arrays; returns bytes and content encoding (`ZSTD` or None)."""
    plain = {key: _array_to_map(value) if isinstance(value, np.ndarray) else value for key, value in fields.items()}
    body = msgpack.packb(plain, use_bin_type=True)
    if not compress:
        return body, None
    return zstandard.ZstdCompressor(level=1).compress(body), ZSTD


def unpack(body: bytes, encoding: str | None = None, limits: Limits | None = None) -> dict[str, Any]:
    """Decode the mapping of `pack`; arrays are read-only views of the body.

    Raises:
        MessageError: with the reason, for bytes that `pack` has not made or that are beyond the limits.
    """
    limit = (limits or Limits()).message_bytes
    if len(body) > limit:
        raise MessageError(f"the message has {len(body)} bytes, {limit} are the limit")
    if encoding == ZSTD:
        body = _decompress(body, limit)
    elif encoding:
        raise MessageError(f"unknown content encoding {encoding[:40]!r}; {ZSTD} or none is expected")
    check_structure(body)
    try:
        fields = msgpack.unpackb(body, raw=False, strict_map_key=True)
    except Exception as error:  # msgpack raises many kinds on damaged bytes
        raise MessageError(f"not msgpack: {error or type(error).__name__}") from error
    if not isinstance(fields, dict):
        raise MessageError(f"expected a map of fields, got {type(fields).__name__}")
    return {key: _array_from_map(key, value) if isinstance(value, dict) else value for key, value in fields.items()}


def _array_to_map(array: NDArray) -> dict[str, Any]:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    if little.dtype.str not in DTYPES:
        raise TypeError(f"arrays of {array.dtype} do not travel, only {', '.join(DTYPES)}")
    return {"dtype": little.dtype.str, "shape": list(array.shape), "data": little.tobytes()}


def _array_from_map(name: str, value: dict[str, Any]) -> NDArray:
    dtype, shape, data = value.get("dtype"), value.get("shape"), value.get("data")
    if set(value) != {"dtype", "shape", "data"} or not isinstance(data, bytes):
        raise MessageError(f"{name}: an array has dtype, shape and data")
    if dtype not in DTYPES:
        raise MessageError(f"{name}: unknown dtype {str(dtype)[:40]!r}")
    if not isinstance(shape, list) or len(shape) > MAX_AXES or not all(_is_size(axis) for axis in shape):
        raise MessageError(f"{name}: a shape is at most {MAX_AXES} sizes")
    kind = np.dtype(dtype)
    if math.prod(shape) * kind.itemsize != len(data):
        raise MessageError(f"{name}: shape {shape} of {dtype} does not fit {len(data)} bytes")
    return np.frombuffer(data, kind).reshape(shape)


def _is_size(axis: Any) -> bool:
    return isinstance(axis, int) and not isinstance(axis, bool) and 0 <= axis < 1 << 31


def _decompress(body: bytes, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(io.BytesIO(body)) as reader:
            while piece := reader.read(_PIECE):  # a read of the whole would take the memory of the limit at once
                size += len(piece)
                if size > limit:
                    raise MessageError(f"the message is larger than {limit} bytes when decompressed")
                pieces.append(piece)
    except zstandard.ZstdError as error:
        raise MessageError(f"not zstd: {error}") from error
    return b"".join(pieces)
