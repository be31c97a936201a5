"""The worker's handle of one mesh process: slots of shared memory, the pipe, and the thread that listens to it."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slam3r.service.mesh.process import run, slot_type
from slam3r.service.settings import MeshSettings
from slam3r.service.wire.codec import Limits, pack, unpack

_LIMITS = Limits(message_bytes=1 << 30)  # from our own process
_STOP_SECONDS = 1.0

OnMessage = Callable[["MeshProcess", dict[str, Any]], None]
OnDeath = Callable[["MeshProcess"], None]


class MeshProcess:
    """One process. Its owner's lock guards all calls but `close`."""

    def __init__(self, settings: MeshSettings, size: tuple[int, int], on_message: OnMessage, on_death: OnDeath) -> None:
        """
        Args:
            settings: of the meshes.
            size: (height, width) of the pointmaps.
            on_message: is given what the process sends, in a thread of its own.
            on_death: is called in that thread when the process has ended.
        """
        self._type, self._slots = slot_type(*size), settings.slots
        self._memory = SharedMemory(create=True, size=self._type.itemsize * settings.slots)
        self._free = list(range(settings.slots))
        self._on_message, self._on_death = on_message, on_death
        context = multiprocessing.get_context("spawn")  # a fork would copy CUDA's and torch's threads
        self._connection, theirs = context.Pipe()
        numbers = {key: value for key, value in asdict(settings).items() if isinstance(value, (int, float))}
        arguments = (theirs, self._memory.name, (settings.slots, *size), numbers)
        self._process: multiprocessing.process.BaseProcess = context.Process(
            target=run, args=arguments, name="mesher", daemon=True
        )
        self._process.start()
        theirs.close()
        self._closing = threading.Lock()
        self._closed = False
        threading.Thread(target=self._listen, args=(self._connection,), name="mesher", daemon=True).start()

    @property
    def process_id(self) -> int | None:
        """Process id."""
        return self._process.pid

    @property
    def has_room(self) -> bool:
        """Whether a slot of shared memory is free."""
        return bool(self._free)

    def put(self, timestamp_ns: int, keyframe: NDArray[Any]) -> None:
        """Hand over a keyframe; there must be room."""
        number = self._free.pop()
        slots: NDArray[Any] = np.ndarray((self._slots,), self._type, self._memory.buf)
        slots[number] = keyframe
        self.send(slot=number, timestamp_ns=timestamp_ns)

    def send(self, **message: Any) -> None:
        """Send a message. One to a process that has just died is lost; `on_death` tells."""
        with suppress(OSError):
            self._connection.send_bytes(pack(message)[0])

    def kill(self) -> None:
        """End the process at once; `on_death` is called."""
        self._process.kill()

    def close(self, seconds: float = _STOP_SECONDS) -> None:
        """End the process, by force after some time, and free the memory. May be called twice."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self.send(stop=True)
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._memory.close()
        self._memory.unlink()

    def _listen(self, connection: Connection) -> None:
        while True:
            try:
                message = unpack(connection.recv_bytes(), limits=_LIMITS)
            except (EOFError, OSError):
                break
            if "free" in message:
                self._free.append(message["free"])
            self._on_message(self, message)
        connection.close()
        self._on_death(self)
