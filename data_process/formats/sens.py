"""Streaming reader of ScanNet's .sens files, which can have tens of gigabytes.

The layout, little endian, is that of version 4 of ScanNet's SensorData (github.com/ScanNet/ScanNet, SensReader):

    u32 version = 4, u64 length, sensor name
    4 x 4 float32 each: color intrinsics, color extrinsics, depth intrinsics, depth extrinsics
    i32 color compression, i32 depth compression
    u32 color width, color height, depth width, depth height
    float32 depth units per metre, u64 number of frames
    per frame: 4 x 4 float32 camera to world, u64 color time, u64 depth time (microseconds),
               u64 color bytes, u64 depth bytes, color, depth
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from data_process.errors import BadFrameError, SceneError
from data_process.formats.frame_files import decode_color

VERSION = 4
COLOR_RAW, COLOR_PNG, COLOR_JPEG = 0, 1, 2
DEPTH_RAW, DEPTH_ZLIB = 0, 1

_LONGEST_SIDE = 16384
"""Pixels; a larger one is damage, and would be allocated."""
_LONGEST_NAME = 1 << 16
_FRAME = struct.Struct("<16f4Q")
_HEADER = struct.Struct("<64f2i4If1Q")


@dataclass(frozen=True)
class SensHeader:
    """Header of a .sens file."""

    sensor: str
    intrinsics_color: NDArray[np.float64]
    """(3, 3), pixels of the colour image."""
    intrinsics_depth: NDArray[np.float64]
    """(3, 3), pixels of the depth image."""
    color_compression: int
    depth_compression: int
    color_size: tuple[int, int]
    """(height, width)."""
    depth_size: tuple[int, int]
    """(height, width)."""
    depth_scale: float
    """Stored depth units per metre."""
    num_frames: int


@dataclass(frozen=True)
class SensFrame:
    """One frame, still compressed."""

    number: int
    camera_to_world: NDArray[np.float64]
    """(4, 4), metres, OpenCV camera axes; not finite where tracking was lost."""
    time_color: float
    """Seconds."""
    color: bytes
    depth: bytes
    header: SensHeader

    def decode_color(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Raises BadFrameError."""
        if self.header.color_compression != COLOR_RAW:
            return decode_color(self.color)
        height, width = self.header.color_size
        if len(self.color) != height * width * 3:
            raise BadFrameError("damaged color image")
        return np.frombuffer(self.color, np.uint8).reshape(height, width, 3)

    def decode_depth(self) -> NDArray[np.uint16]:
        """(H, W) stored units. Raises BadFrameError."""
        height, width = self.header.depth_size
        size = height * width * 2
        try:
            # Bounded, so that a damaged file cannot exhaust the memory.
            zipped = self.header.depth_compression == DEPTH_ZLIB
            content = zlib.decompressobj().decompress(self.depth, size + 1) if zipped else self.depth
        except zlib.error:
            content = b""
        if len(content) != size:
            raise BadFrameError("damaged depth image")
        return np.frombuffer(content, "<u2").reshape(height, width)


class SensTruncatedError(Exception):
    """Raised if the file ends before frame `number` is complete."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class SensFile:
    """An open .sens file; a context manager.

    Raises:
        SceneError: the file is not a .sens file of version 4, or ends within its header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] = path.open("rb")
        try:
            self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise
        self._first_frame = self._file.tell()
        self._size = path.stat().st_size

    def __enter__(self) -> SensFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def frames(self, every: int = 1) -> Iterator[SensFrame]:
        """Yield frames 0, every, 2 every, ...; the others are skipped without being read.

        Raises:
            SensTruncatedError: the file ends early, after the frames yielded so far.
        """
        self._file.seek(self._first_frame)
        for number in range(self.header.num_frames):
            fixed = self._file.read(_FRAME.size)
            if len(fixed) < _FRAME.size:
                raise SensTruncatedError(number)
            *pose, time_color, _time_depth, color_bytes, depth_bytes = _FRAME.unpack(fixed)
            end = self._file.tell() + color_bytes + depth_bytes
            if end > self._size:
                raise SensTruncatedError(number)
            if number % every == 0:
                matrix = np.array(pose, np.float64).reshape(4, 4)
                color, depth = self._file.read(color_bytes), self._file.read(depth_bytes)
                yield SensFrame(number, matrix, time_color / 1e6, color, depth, self.header)
            self._file.seek(end)

    def _read_header(self) -> SensHeader:
        version, length = struct.unpack("<IQ", self._read(12))
        if version != VERSION or length > _LONGEST_NAME:
            raise SceneError(f"{self.path}: not a .sens file of version {VERSION}")
        name = self._read(length).decode(errors="replace")
        values = _HEADER.unpack(self._read(_HEADER.size))
        matrices = np.array(values[:64], np.float64).reshape(4, 4, 4)
        color_compression, depth_compression = values[64:66]
        color_width, color_height, depth_width, depth_height = values[66:70]
        depth_scale, num_frames = values[70:]
        if color_compression not in (COLOR_RAW, COLOR_PNG, COLOR_JPEG):
            raise SceneError(f"{self.path}: color compression {color_compression} is not supported")
        if depth_compression not in (DEPTH_RAW, DEPTH_ZLIB):
            raise SceneError(f"{self.path}: depth compression {depth_compression} is not supported")
        if not 0 < depth_scale < np.inf:
            raise SceneError(f"{self.path}: {depth_scale} depth units per metre")
        sides = (color_width, color_height, depth_width, depth_height)
        if not all(0 < side <= _LONGEST_SIDE for side in sides):
            raise SceneError(f"{self.path}: states images of {sides[:2]} and depth of {sides[2:]} pixels")
        return SensHeader(
            sensor=name,
            intrinsics_color=matrices[0, :3, :3],
            intrinsics_depth=matrices[2, :3, :3],
            color_compression=color_compression,
            depth_compression=depth_compression,
            color_size=(color_height, color_width),
            depth_size=(depth_height, depth_width),
            depth_scale=depth_scale,
            num_frames=num_frames,
        )

    def _read(self, count: int) -> bytes:
        content = self._file.read(count)
        if len(content) < count:
            raise SceneError(f"{self.path}: ends within its header")
        return content
