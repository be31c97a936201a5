"""NumPy files that grow: arrays appended row by row without knowing their number, memory-mappable in the end."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from common.errors import InputError
from common.files import atomic_write

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER_BYTES = 256  # of the whole header; a multiple of 64, so that the data is aligned


def open_npy(path: Path, axes: int) -> NDArray:
    """Open an array of numbers by memory map.

    Raises:
        InputError: the file is missing, cut short, no ``.npy`` file, or has another number of axes than `axes`.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'not an array, or cut short'}") from error
    except (ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        if "pickle" in reason:  # NumPy advises to trust the file
            reason = "it holds something other than numbers"
        raise InputError(f"{path}: not an array, or cut short ({reason})") from error
    if not isinstance(array, np.ndarray) or array.ndim != axes or array.dtype.kind not in "biuf":
        shape = list(getattr(array, "shape", ()))
        raise InputError(f"{path}: expected numbers with {axes} axes, found an array of {shape}")
    return array


class NpyWriter:
    """Writes one array of shape (rows, *shape) to a ``.npy`` file, any number of rows at a time.

    The file takes its place, whole, when `close` is called. Nothing is kept in memory.

    Args:
        path: of the file.
        shape: of a row.
        dtype: of the file; what is appended is converted.
    """

    def __init__(self, path: str | os.PathLike[str], shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.count = 0
        """Rows written so far."""
        self._shape, self._dtype = tuple(int(side) for side in shape), np.dtype(dtype)
        self._stack = ExitStack()
        self._file: IO[Any] | None = self._stack.enter_context(atomic_write(path, "wb"))
        self._file.write(self._header())

    def append(self, rows: ArrayLike) -> None:
        """Add rows (n, *shape)."""
        if self._file is None:
            raise RuntimeError("this file is closed")
        values = np.ascontiguousarray(rows, self._dtype)
        if values.shape[1:] != self._shape:
            raise ValueError(f"rows of shape {values.shape[1:]} for a file of {self._shape}")
        self._file.write(values.data if values.size else b"")
        self.count += len(values)

    def close(self) -> None:
        """Fill in the number of rows and move the file into place. May be called twice."""
        file, self._file = self._file, None
        if file is not None:
            file.seek(0)
            file.write(self._header())
            self._stack.close()

    def _header(self) -> bytes:
        """File header; its length does not depend on the number of rows."""
        description = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.count, *self._shape)}
        size = _HEADER_BYTES - len(_MAGIC) - 2
        text = repr(description).encode("latin1").ljust(size - 1) + b"\n"
        return _MAGIC + size.to_bytes(2, "little") + text
