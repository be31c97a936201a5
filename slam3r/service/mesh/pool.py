"""Meshes of many worlds by a few processes.

A world takes a process when one is free, and keeps it until its last mesh is made. Until then its keyframes wait in a
file, of which no more than `MeshSettings.replay_frames` are kept; waiting worlds cost disk, not processes. The same
file feeds the next process when one dies.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slam3r.service.mesh.files import TimedMesh
from slam3r.service.mesh.motion_gate import MotionGate
from slam3r.service.mesh.process import slot_type
from slam3r.service.mesh.spool import Spool
from slam3r.service.mesh.worker_process import MeshProcess
from slam3r.service.metrics import Metrics
from slam3r.service.settings import MeshSettings

logger = logging.getLogger(__name__)

_MAX_DEATHS = 5
_REUSE_SHARE = 0.5
"""A process is used for another world if it holds no more than this share of its memory limit."""

OnMesh = Callable[[TimedMesh], None]


class WorldMesh:
    """The mesh of one world; made by `MeshPool.open`. `add` never waits for a process."""

    def __init__(self, pool: MeshPool, number: int, on_mesh: OnMesh, spool: Spool, gate: MotionGate) -> None:
        self._pool, self.number, self.on_mesh, self.spool, self.gate = pool, number, on_mesh, spool, gate
        self.result: Future[Path | None] = Future()
        """File of the last mesh, or None where there is none."""
        self.process: MeshProcess | None = None
        self.to_feed: deque[tuple[int, int]] = deque()
        """Keyframes of the spool that the process is still to be given."""
        self.is_ending = self.is_finishing = False
        self.deaths = 0
        self.timer: threading.Timer | None = None

    def add(self, timestamp_ns: int, depth: NDArray, color: NDArray, pose: NDArray, intrinsics: NDArray) -> bool:
        """Hand over a keyframe if the camera has moved enough. Whether a process got it at once.

        Args:
            timestamp_ns: of the frame.
            depth: (H, W) along the axis, 0 where there is none.
            color: (H, W, 3) uint8 RGB.
            pose: (4, 4) camera-to-world.
            intrinsics: (3, 3) pixels.
        """
        return self.gate(pose) and self._pool.add(self, timestamp_ns, depth, color, pose, intrinsics)

    def finish(self) -> Future[Path | None]:
        """The world is over: a future of the file of its last mesh. `discard` removes the file."""
        self._pool.finish(self)
        return self.result

    def discard(self) -> None:
        """The mesh is not needed any more: ends its work and removes its files."""
        self._pool.discard(self)


class MeshPool:
    """The mesh processes of a worker. May be used from any thread."""

    def __init__(
        self, settings: MeshSettings, size: tuple[int, int], processes: int, folder: Path | None, metrics: Metrics
    ) -> None:
        """
        Args:
            settings: of the meshes.
            size: (height, width) of the pointmaps.
            processes: at most.
            folder: for the files of waiting worlds, emptied first; None: a temporary one.
            metrics: counts what was left out, and processes that died.
        """
        self._settings, self._size, self._limit, self._metrics = settings, size, processes, metrics
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self._folder = folder or Path(tempfile.mkdtemp(prefix="mesh-"))
        self._record = slot_type(*size)
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._waiting: deque[WorldMesh] = deque()
        self._working: dict[MeshProcess, WorldMesh | None] = {}
        self._closed = False

    @property
    def num_waiting(self) -> int:
        """Worlds without a process."""
        return len(self._waiting)

    @property
    def process_ids(self) -> list[int]:
        """Ids of the running processes."""
        return [process.process_id for process in list(self._working) if process.process_id is not None]

    def open(self, on_mesh: OnMesh) -> WorldMesh:
        """Begin the mesh of a world.

        Args:
            on_mesh: is given the mesh so far, now and then, in a thread of its own.
        """
        settings = self._settings
        gate = MotionGate(settings.translation, settings.rotation_degrees, settings.max_skipped)
        with self._lock:
            number = next(self._numbers)
            spool = Spool(self._folder / f"{number}.keyframes", self._record, settings.replay_frames)
            world = WorldMesh(self, number, on_mesh, spool, gate)
            self._waiting.append(world)
            self._assign()
        return world

    def add(
        self, world: WorldMesh, timestamp_ns: int, depth: NDArray, color: NDArray, pose: NDArray, intrinsics: NDArray
    ) -> bool:
        """See `WorldMesh.add`."""
        record = np.zeros((), self._record)
        record["depth"], record["color"], record["camera_to_world"] = depth, color, pose
        record["intrinsics"] = intrinsics
        with self._lock:
            if self._closed or world.is_ending or world.result.done():
                return False
            try:
                world.spool.add(timestamp_ns, record)
            except OSError as error:
                logger.warning("a keyframe was not kept for the mesh: %s", error)
            process = world.process
            if process is not None and process.has_room and not world.to_feed:
                process.put(timestamp_ns, record)
                return True
            if process is not None:
                self._metrics.mesh_skipped.inc()
            return False

    def finish(self, world: WorldMesh) -> None:
        """See `WorldMesh.finish`."""
        with self._lock:
            world.is_ending = True
            if self._closed:
                self._conclude(world, None)
                return
            if world.process is not None:
                self._start_timer(world)
                self._feed(world)
            self._bound_queue()

    def discard(self, world: WorldMesh) -> None:
        """See `WorldMesh.discard`."""
        with self._lock:
            self._conclude(world, None)
            if world in self._waiting:
                self._waiting.remove(world)
            if world.process is not None:
                world.process.kill()
        self._result_file(world).unlink(missing_ok=True)

    def close(self) -> None:
        """End all processes and give up what waits."""
        with self._lock:
            self._closed = True
            processes, worlds = list(self._working), [*self._waiting, *filter(None, self._working.values())]
            for world in worlds:
                self._conclude(world, None)
            self._waiting.clear()
        for process in processes:
            process.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _assign(self) -> None:
        """Give free processes to waiting worlds, in the order of their beginnings."""
        while self._waiting and not self._closed:
            free = next((process for process, world in self._working.items() if world is None), None)
            if free is None:
                if len(self._working) >= self._limit:
                    return
                try:
                    free = MeshProcess(self._settings, self._size, self._on_message, self._on_death)
                except OSError as error:  # no memory or no process left: meshes wait, the stream goes on
                    logger.error("no mesh process could be started: %s", error)
                    return
            self._hand(free, self._waiting.popleft())

    def _hand(self, process: MeshProcess, world: WorldMesh) -> None:
        self._working[process], world.process = world, process
        process.send(begin=world.number)
        world.to_feed = deque(world.spool.read())
        if world.is_ending:
            self._start_timer(world)
        self._feed(world)

    def _feed(self, world: WorldMesh) -> None:
        """Give the process what waits in the spool; when the world is over and all is given, ask for the mesh."""
        process = world.process
        if process is None:
            return
        while world.to_feed and process.has_room:
            timestamp_ns, place = world.to_feed.popleft()
            try:
                process.put(timestamp_ns, world.spool.load(place))
            except (OSError, IndexError) as error:
                logger.warning("a keyframe of a waiting mesh cannot be read: %s", error)
        if world.is_ending and not world.to_feed and not world.is_finishing:
            world.is_finishing = True
            process.send(finish=str(self._result_file(world)))

    def _on_message(self, process: MeshProcess, message: dict[str, Any]) -> None:
        with self._lock:
            world = self._working.get(process)
            if "free" in message and world is not None:
                self._feed(world)
            elif "full" in message:
                logger.warning("the mesh process has reached mesh.memory_limit_mb: the mesh grows no further")
            elif "finished" in message:
                self._release(process, message)
        if "vertices" in message and world is not None and message.pop("world") == world.number:
            world.on_mesh(TimedMesh(**message))

    def _release(self, process: MeshProcess, message: dict[str, Any]) -> None:
        world = self._working[process]
        if world is not None and world.number == message["finished"]:
            world.process = self._working[process] = None
            self._conclude(world, self._result_file(world))
        if message["memory"] > _REUSE_SHARE * self._settings.memory_limit_mb * 2**20:
            process.kill()  # what a large world took is not given back; a new process takes its place
        else:
            self._assign()

    def _on_death(self, process: MeshProcess) -> None:
        with self._lock:
            world = self._working.pop(process, None)
            if self._closed:
                return
            if world is not None and not world.result.done():
                world.deaths += 1
                world.process, world.is_finishing = None, False
                self._metrics.mesh_restarts.inc()
                if world.deaths > _MAX_DEATHS:
                    logger.error("the mesh process died %d times; this world gets no mesh", world.deaths)
                    self._conclude(world, None)
                else:
                    logger.warning("the mesh process died; the next one is given %d keyframes", len(world.spool))
                    self._waiting.appendleft(world)
            self._assign()
        process.close()

    def _conclude(self, world: WorldMesh, file: Path | None) -> None:
        if world.timer is not None:
            world.timer.cancel()
        if not world.result.done():
            world.result.set_result(file)
        world.spool.remove()

    def _start_timer(self, world: WorldMesh) -> None:
        if world.timer is None:
            world.timer = threading.Timer(self._settings.finish_timeout_seconds, self._expire, (world,))
            world.timer.daemon = True
            world.timer.start()

    def _expire(self, world: WorldMesh) -> None:
        with self._lock:
            if world.result.done():
                return
            logger.error("the last mesh of a world was not made in mesh.finish_timeout_seconds; it gets none")
            self._conclude(world, None)
            if world in self._waiting:
                self._waiting.remove(world)
            if world.process is not None:
                world.process.kill()

    def _bound_queue(self) -> None:
        ended = [world for world in self._waiting if world.is_ending]
        if len(ended) > self._settings.waiting_worlds:
            logger.error("more than mesh.waiting_worlds wait for a mesh: the oldest one gets none")
            self._metrics.mesh_given_up.inc()
            self._waiting.remove(ended[0])
            self._conclude(ended[0], None)

    def _result_file(self, world: WorldMesh) -> Path:
        return self._folder / f"{world.number}.npz"
