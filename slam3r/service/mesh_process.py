"""The process that fuses keyframes into a mesh. It imports Open3D and no torch, and knows the worker by a pipe alone.

Truncated signed distances in a hashed voxel grid: Curless and Levoy 1996, Niessner et al. 2013, by Open3D. Pixels come
through shared memory; the pipe carries small messages of `slam3r.service.wire.codec`, and meshes back.
"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slam3r.service.wire.codec import pack, unpack

_BLOCK = 8
"""Voxels along the side of a block."""
_BLOCKS_AT_FIRST = 10_000
"""The grid grows by itself."""
_NICE = 10
"""The networks come first where processors are few."""
_REST = 4.0
"""Times what a mesh took to make, until the next one: large worlds must not take a whole processor."""


def slot_type(height: int, width: int) -> np.dtype:
    """One keyframe in shared memory."""
    return np.dtype(
        [
            ("depth", "<f4", (height, width)),
            ("color", "|u1", (height, width, 3)),
            ("camera_to_world", "<f8", (4, 4)),
            ("intrinsics", "<f8", (3, 3)),
        ]
    )


def run(connection: Connection, memory: str, shape: tuple[int, int, int], settings: dict[str, float]) -> None:
    """Fuse until the pipe ends.

    Args:
        connection: takes ``{"slot", "timestamp_ns"}``, ``{"finish"}`` and ``{"stop"}``; gives back ``{"free"}``,
            ``{"full"}`` and meshes.
        memory: name of the shared memory.
        shape: slots, height and width.
        settings: voxel, truncation, depth_limit, update_seconds, memory_limit_mb.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which then ends the pipe
    if hasattr(os, "nice"):  # not on Windows
        os.nice(_NICE)
    shared = SharedMemory(memory)
    try:
        slots: NDArray[Any] = np.ndarray((shape[0],), slot_type(*shape[1:]), shared.buf)
        _serve(connection, slots, settings)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the worker is gone
    finally:
        del slots
        shared.close()


def _serve(connection: Connection, slots: NDArray[Any], settings: dict[str, float]) -> None:
    import psutil

    fusion, process = Fusion(settings), psutil.Process()
    told, changed, newest, due = False, False, 0, 0.0
    while True:
        if changed and time.monotonic() >= due and not connection.poll(0):  # frames first: a mesh is worth it with them
            begun = time.monotonic()
            connection.send_bytes(pack({"timestamp_ns": newest, "final": False, **fusion.mesh()})[0])
            changed, now = False, time.monotonic()
            due = now + max(settings["update_seconds"], _REST * (now - begun))
        if not connection.poll(max(0.0, due - time.monotonic()) if changed else None):
            continue
        message = unpack(connection.recv_bytes())
        if message.get("stop"):
            return
        if message.get("finish"):
            connection.send_bytes(pack({"timestamp_ns": newest, "final": True, **fusion.mesh()})[0])
            continue
        number = message["slot"]
        frame = slots[number].copy()
        connection.send_bytes(pack({"free": number})[0])
        if process.memory_info().rss > settings["memory_limit_mb"] * 2**20:
            if not told:
                connection.send_bytes(pack({"full": True})[0])
            told = True
            continue
        fusion.add(frame["depth"], frame["color"], frame["camera_to_world"], frame["intrinsics"])
        changed, newest = True, message["timestamp_ns"]


class Fusion:
    """Keyframes in, mesh out. Open3D's tensor grid: its older volumes give no mesh in version 0.20."""

    def __init__(self, settings: dict[str, float]) -> None:
        import open3d

        self._open3d: Any = open3d  # its stubs do not take arrays
        self._limit = settings["depth_limit"]
        self._truncation = settings["truncation"] / settings["voxel"]
        core = self._open3d.core
        self._grid = self._open3d.t.geometry.VoxelBlockGrid(
            attr_names=("tsdf", "weight", "color"),
            attr_dtypes=(core.float32, core.float32, core.float32),
            attr_channels=((1), (1), (3)),
            voxel_size=settings["voxel"],
            block_resolution=_BLOCK,
            block_count=_BLOCKS_AT_FIRST,
            device=core.Device("CPU:0"),
        )
        self._empty = True

    def add(self, depth: NDArray, color: NDArray, camera_to_world: NDArray, intrinsics: NDArray) -> None:
        """Fuse a keyframe: depth (H, W) along the axis, 0 where there is none; colour (H, W, 3); OpenCV camera."""
        if not ((depth > 0) & (depth < self._limit)).any():
            return
        image, tensor = self._open3d.t.geometry.Image, self._open3d.core.Tensor
        depths = image(np.ascontiguousarray(depth[..., None], np.float32))
        colors = image(np.ascontiguousarray(color, np.float32) / 255)
        camera, pose = tensor(np.ascontiguousarray(intrinsics)), tensor(np.linalg.inv(camera_to_world))
        # Depths are in units of the world, so their scale is 1.
        blocks = self._grid.compute_unique_block_coordinates(depths, camera, pose, 1.0, self._limit, self._truncation)
        self._grid.integrate(blocks, depths, colors, camera, camera, pose, 1.0, self._limit, self._truncation)
        self._empty = False

    def mesh(self) -> dict[str, NDArray]:
        """Vertices (V, 3), triangles (T, 3) and colours (V, 3) so far."""
        if self._empty:
            nothing = np.empty((0, 3))
            return {
                "vertices": nothing.astype(np.float32),
                "triangles": nothing.astype(np.int32),
                "colors": nothing.astype(np.uint8),
            }
        mesh = self._grid.extract_triangle_mesh(weight_threshold=0.5)
        colors = np.rint(mesh.vertex.colors.numpy() * 255).clip(0, 255)
        return {
            "vertices": mesh.vertex.positions.numpy().astype(np.float32),
            "triangles": mesh.triangle.indices.numpy().astype(np.int32),
            "colors": colors.astype(np.uint8),
        }
