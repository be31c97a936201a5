"""The worker's end of the mesh process: chooses frames by motion, hands them over, replaces the process if it dies."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slam3r.service.mesh_process import run, slot_type
from slam3r.service.metrics import Metrics
from slam3r.service.settings import MeshSettings
from slam3r.service.wire.codec import Limits, pack, unpack

logger = logging.getLogger(__name__)

_MESH_LIMITS = Limits(message_bytes=1 << 30)  # from our own process
_MAX_RESTARTS = 5


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh of a world."""

    timestamp_ns: int
    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    colors: NDArray[np.uint8]


class MotionGate:
    """Lets a frame through when the camera has moved enough since the last one, or after so many that were held."""

    def __init__(self, translation: float, rotation_degrees: float, max_skipped: int) -> None:
        self._translation, self._cosine = translation, np.cos(np.radians(rotation_degrees))
        self._max_skipped, self._skipped = max_skipped, 0
        self._last: NDArray | None = None

    def __call__(self, camera_to_world: NDArray) -> bool:
        """Whether the frame with this (4, 4) pose goes through."""
        if self._last is not None and self._skipped < self._max_skipped:
            moved = np.linalg.norm(camera_to_world[:3, 3] - self._last[:3, 3])
            turn = (np.trace(self._last[:3, :3].T @ camera_to_world[:3, :3]) - 1) / 2
            if moved < self._translation and turn > self._cosine:
                self._skipped += 1
                return False
        self._last, self._skipped = camera_to_world.copy(), 0
        return True


class Mesher:
    """The mesh of one world. `add` never waits: a frame that finds no free slot is left out."""

    def __init__(
        self, settings: MeshSettings, size: tuple[int, int], metrics: Metrics, on_mesh: Callable[[Mesh], None]
    ) -> None:
        """
        Args:
            settings: see ``configs/serve.yaml``.
            size: (height, width) of the pointmaps.
            metrics: counts what was left out, and processes that died.
            on_mesh: is given meshes, in a thread of its own.
        """
        self._settings, self._metrics, self._on_mesh = settings, metrics, on_mesh
        self._gate = MotionGate(settings.translation, settings.rotation_degrees, settings.max_skipped)
        self._type = slot_type(*size)
        self._shape = (settings.slots, *size)
        self._memory = SharedMemory(create=True, size=self._type.itemsize * settings.slots)
        self._lock = threading.Lock()
        self._free: deque[int] = deque()
        self._replay: list[tuple[int, NDArray[Any]]] = []
        self._every, self._seen = 1, 0
        self._final: Mesh | None = None
        self._waiting: deque[tuple[int, NDArray[Any]]] = deque()
        """Frames to be fused again by a new process."""
        self._finished, self._finishing, self._closed, self._restarts = threading.Event(), False, False, 0
        self._connection: Connection
        self._process: multiprocessing.process.BaseProcess
        self._start()

    @property
    def process_id(self) -> int | None:
        """Of the mesh process."""
        return self._process.pid

    def add(self, timestamp_ns: int, depth: NDArray, color: NDArray, pose: NDArray, intrinsics: NDArray) -> bool:
        """Hand over a frame, if the camera has moved enough; see `Fusion.add`. Whether it was taken."""
        if self._closed or not self._gate(pose):
            return False
        record = np.zeros((), self._type)
        record["depth"], record["color"], record["camera_to_world"] = depth, color, pose
        record["intrinsics"] = intrinsics
        with self._lock:
            self._remember(timestamp_ns, record)
            return self._hand_over(timestamp_ns, record)

    def finish(self) -> Mesh | None:
        """The world is over: its last mesh, and the end of the process. None if it did not come in time."""
        with self._lock:
            self._finishing = True
            self._feed()
        self._finished.wait(self._settings.finish_timeout_seconds)
        self.close()
        return self._final

    def close(self) -> None:
        """End the process and free the memory. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with suppress(OSError):
                self._connection.send_bytes(pack({"stop": True})[0])
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)
        self._memory.close()
        self._memory.unlink()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy CUDA's and torch's threads
        self._connection, theirs = context.Pipe()
        settings = {key: value for key, value in asdict(self._settings).items() if isinstance(value, (int, float))}
        arguments = (theirs, self._memory.name, self._shape, settings)
        self._process = context.Process(target=run, args=arguments, name="mesher", daemon=True)
        self._process.start()
        theirs.close()
        self._free = deque(range(self._settings.slots))
        threading.Thread(target=self._listen, args=(self._connection,), name="mesher", daemon=True).start()

    def _hand_over(self, timestamp_ns: int, record: NDArray[Any]) -> bool:
        if not self._free:
            self._metrics.mesh_skipped.inc()
            return False
        number = self._free.popleft()
        slots: NDArray[Any] = np.ndarray((self._settings.slots,), self._type, self._memory.buf)
        slots[number] = record
        try:
            self._connection.send_bytes(pack({"slot": number, "timestamp_ns": timestamp_ns})[0])
        except OSError:
            return False  # the process is gone: the listener replaces it, and what is remembered comes again
        return True

    def _remember(self, timestamp_ns: int, record: NDArray[Any]) -> None:
        """Keep an even choice of all frames of the world, for a new process should this one die."""
        if self._seen % self._every == 0:
            self._replay.append((timestamp_ns, record))
            if len(self._replay) > self._settings.replay_frames:
                self._replay = self._replay[::2]
                self._every *= 2
        self._seen += 1

    def _listen(self, connection: Connection) -> None:
        with self._lock:
            self._feed()
        while True:
            try:
                message = unpack(connection.recv_bytes(), limits=_MESH_LIMITS)
            except (EOFError, OSError):
                connection.close()
                self._replace()
                return
            if "free" in message:
                with self._lock:
                    self._free.append(message["free"])
                    self._feed()
            elif "full" in message:
                logger.warning("the mesh process has reached mesh.memory_limit_mb: the mesh grows no further")
            else:
                final = message.pop("final")
                mesh = Mesh(**message)
                if final:
                    self._final = mesh
                    self._finished.set()
                else:
                    self._on_mesh(mesh)

    def _feed(self) -> None:
        while self._waiting and self._free and not self._closed:
            self._hand_over(*self._waiting.popleft())
        if self._finishing and not self._waiting:
            with suppress(OSError):
                self._connection.send_bytes(pack({"finish": True})[0])

    def _replace(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._restarts += 1
            self._metrics.mesh_restarts.inc()
            if self._restarts > _MAX_RESTARTS:
                logger.error("the mesh process died %d times; this world gets no mesh", self._restarts)
                self._free.clear()
                self._finished.set()
                return
            self._waiting = deque(self._replay)
            logger.warning("the mesh process died; a new one is given %d frames again", len(self._replay))
            self._start()
