"""The process that fuses keyframes into a mesh. It imports Open3D and no torch, and knows the worker by a pipe alone.

Pixels come through shared memory; the pipe carries small messages of `slam3r.service.wire.codec`, and meshes back.
"""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from common.export.depth_fusion import DepthFusion, empty_mesh
from common.processes import become_helper
from slam3r.service.mesh.files import write_mesh_file
from slam3r.service.wire.codec import pack, unpack

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
    """Fuse one world after the other until the pipe ends.

    Args:
        connection: takes ``{"begin"}`` (a number for the world), ``{"slot", "timestamp_ns"}``, ``{"finish"}`` (the file
            to write the mesh to) and ``{"stop"}``; gives back ``{"free"}``, ``{"full"}``, ``{"finished", "memory"}``
            and meshes, which carry the world's number.
        memory: name of the shared memory.
        shape: slots, height and width.
        settings: voxel, truncation, depth_limit, update_seconds, memory_limit_mb.
    """
    become_helper(_NICE)
    shared = SharedMemory(memory)
    slots: NDArray[Any] = np.ndarray((shape[0],), slot_type(*shape[1:]), shared.buf)
    try:
        _Server(connection, slots, settings).serve()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the worker is gone
    finally:
        del slots
        shared.close()


class _Server:
    """The loop of the process."""

    def __init__(self, connection: Connection, slots: NDArray[Any], settings: dict[str, float]) -> None:
        self._connection, self._slots, self._settings = connection, slots, settings
        self._process = psutil.Process()
        self._fusion: DepthFusion | None = None
        self._world, self._newest, self._due = -1, 0, 0.0
        self._changed = self._told_full = False

    def serve(self) -> None:
        """Run until told to stop."""
        while True:
            # Frames first: the more of them, the more a mesh is worth.
            if self._changed and time.monotonic() >= self._due and not self._connection.poll(0):
                self._send_mesh()
            wait = max(0.0, self._due - time.monotonic()) if self._changed else None
            if not self._connection.poll(wait):
                continue
            message = unpack(self._connection.recv_bytes())
            if message.get("stop"):
                return
            if "begin" in message:
                self._begin(message["begin"])
            elif "finish" in message:
                mesh = empty_mesh() if self._fusion is None else self._fusion.mesh()
                write_mesh_file(message["finish"], self._newest, mesh)
                self._fusion, self._changed = None, False
                self._send({"finished": self._world, "memory": self._process.memory_info().rss})
            else:
                self._add(message["slot"], message["timestamp_ns"])

    def _begin(self, world: int) -> None:
        self._fusion = None  # made with the first frame: it takes 100 MB
        self._world = world
        self._changed, self._told_full, self._newest, self._due = False, False, 0, 0.0

    def _add(self, slot: int, timestamp_ns: int) -> None:
        frame = self._slots[slot].copy()
        self._send({"free": slot})
        if self._process.memory_info().rss > self._settings["memory_limit_mb"] * 2**20:
            if not self._told_full:
                self._send({"full": self._world})
            self._told_full = True
            return
        if self._fusion is None:
            settings = self._settings
            self._fusion = DepthFusion(settings["voxel"], settings["truncation"], settings["depth_limit"])
        self._fusion.add(frame["depth"], frame["color"], frame["camera_to_world"], frame["intrinsics"])
        self._changed, self._newest = True, timestamp_ns

    def _send_mesh(self) -> None:
        assert self._fusion is not None, "a mesh changes by its frames"
        begun = time.monotonic()
        self._send({"world": self._world, "timestamp_ns": self._newest, **self._fusion.mesh()})
        self._changed, now = False, time.monotonic()
        self._due = now + max(self._settings["update_seconds"], _REST * (now - begun))

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.send_bytes(pack(message)[0])
