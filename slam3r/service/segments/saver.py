"""Finishes meshes and writes closed worlds, beside the stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from slam3r.service.mesh.files import TimedMesh, read_mesh_file
from slam3r.service.mesh.pool import WorldMesh
from slam3r.service.metrics import Metrics
from slam3r.service.segments.files import SegmentFolders
from slam3r.service.segments.refinements import SegmentRefinements
from slam3r.service.segments.trajectory import TrajectoryRecorder
from slam3r.service.settings import SegmentSettings
from slam3r.service.streams.events import WorldEnded
from slam3r.service.timeouts import timeout

logger = logging.getLogger(__name__)

_STAGING_AT_ONCE = 2
"""Closed worlds in memory that wait for the disk; beyond that the stream waits."""


@dataclass(eq=False)
class ClosedWorld:
    """A world that has ended, until everything is written and told."""

    ended: WorldEnded
    trajectory: TrajectoryRecorder
    mesh: WorldMesh | None
    staged: Path | None = field(default=None)
    """Folder that holds everything but the mesh."""
    mesh_told: bool = field(default=False)
    is_given_up: bool = field(default=False)
    takes_room: bool = field(default=True)
    """Whether it counts among those that the stream waits for."""


OnMesh = Callable[[WorldEnded, TimedMesh], Awaitable[None]]
OnSaved = Callable[[WorldEnded, str, str | None], Awaitable[None]]
"""Is told of every attempt to write: the folder, and the error if there was one."""


class SegmentSaver:
    """Takes closed worlds; each is staged on disk at once, and published when its mesh is there."""

    def __init__(
        self,
        settings: SegmentSettings,
        folders: SegmentFolders,
        metrics: Metrics,
        on_mesh: OnMesh,
        on_saved: OnSaved,
        refinements: SegmentRefinements,
    ) -> None:
        """
        Args:
            settings: of segments.
            folders: where to.
            metrics: counts failures.
            on_mesh: is given the last mesh of a world.
            on_saved: is told of attempts to write.
            refinements: of published segments; closed with this.
        """
        self._refinements = refinements
        self._settings, self._folders, self._metrics = settings, folders, metrics
        self._on_mesh, self._on_saved = on_mesh, on_saved
        self._room = asyncio.Semaphore(_STAGING_AT_ONCE)
        self._writing = asyncio.Lock()
        self._tasks: dict[asyncio.Task, ClosedWorld] = {}
        self._in_memory: list[ClosedWorld] = []
        """Worlds that could not be staged, oldest first."""
        self._stopping = asyncio.Event()
        self.last_error: str | None = None
        """Error of the last attempt; None if it went well."""

    async def submit(self, world: ClosedWorld) -> None:
        """Take a world that is over. Waits while two others are being staged."""
        if world.mesh is not None:
            world.mesh.finish()
        await self._room.acquire()
        task = asyncio.create_task(self._finish(world))
        self._tasks[task] = world
        task.add_done_callback(self._done)

    async def recover(self) -> None:
        """Publish what an earlier worker had staged."""
        if self._settings.save:
            for staged, place in await asyncio.to_thread(self._folders.recover):
                logger.info("a segment of an earlier worker is saved in %s", place)
                self._refinements.note(staged, place)
            self._refinements.recover()

    async def drain(self, seconds: float) -> None:
        """Wait for what was submitted; what fails now is not tried again."""
        self._stopping.set()
        tasks = list(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=max(0.0, seconds))
            if late:
                logger.error("%d segments are not finished; the next worker publishes what is staged", len(late))

    def close(self) -> None:
        """Give up what is not finished."""
        for task in list(self._tasks):
            task.cancel()
        self._refinements.close()

    async def _finish(self, world: ClosedWorld) -> None:
        save = self._settings.save and bool(world.ended.frames)
        try:
            staged = not save or await self._stage(world)
        finally:
            self._forget(world)
        mesh_file = None if world.mesh is None else await asyncio.wrap_future(world.mesh.result)
        try:
            if staged:
                await self._attempt(world, lambda: self._publish(world, mesh_file, save))
        finally:
            if world.mesh is not None:
                world.mesh.discard()

    async def _stage(self, world: ClosedWorld) -> bool:
        """Stage a world, again and again if need be; False if it was given up."""

        async def stage() -> None:
            world.staged = await asyncio.to_thread(self._folders.stage, world.ended, world.trajectory)
            await asyncio.to_thread(self._refinements.keep_input, world.staged, world.ended.refinement_input)

        return await self._attempt(world, stage, self._hold_in_memory)

    async def _attempt(
        self,
        world: ClosedWorld,
        write: Callable[[], Awaitable[None]],
        on_failure: Callable[[ClosedWorld], None] | None = None,
    ) -> bool:
        """Write until it succeeds, with pauses; False when the worker stops or the world was given up."""
        while True:
            try:
                await write()
                self.last_error = None
                return True
            except Exception as problem:  # a full disk, above all; libraries have kinds of their own
                self.last_error = f"{type(problem).__name__}: {problem}"[:1000]
                self._metrics.saves_failed.inc()
                logger.error("segment %s was not saved: %s", world.ended.segment, self.last_error)
                if on_failure is not None:
                    on_failure(world)
                await self._on_saved(world.ended, self._settings.folder, self.last_error)
            if self._stopping.is_set() or world.is_given_up:
                return False
            try:
                async with timeout(self._settings.retry_seconds):
                    await self._stopping.wait()
            except asyncio.TimeoutError:
                pass
            if world.is_given_up:
                return False

    async def _publish(self, world: ClosedWorld, mesh_file: Path | None, save: bool) -> None:
        async with self._writing:  # one mesh in memory at a time
            mesh = None if mesh_file is None else await asyncio.to_thread(read_mesh_file, mesh_file)
            if mesh is not None and not world.mesh_told:
                await self._on_mesh(world.ended, mesh)
                world.mesh_told = True
            if not save:
                return
            assert world.staged is not None, "it was staged before"
            if mesh is not None and len(mesh.triangles):
                await asyncio.to_thread(self._folders.add_mesh, world.staged, mesh)
            place = await asyncio.to_thread(self._folders.publish, world.staged)
        await self._on_saved(world.ended, str(place), None)
        self._refinements.published(world.staged, place)

    def _hold_in_memory(self, world: ClosedWorld) -> None:
        """Keep a world for the next attempt; the oldest one goes when there are too many."""
        if not world.is_given_up and world not in self._in_memory:
            self._in_memory.append(world)
            self._leave_room(world)  # the stream goes on
        if len(self._in_memory) > self._settings.max_unsaved:
            given_up = self._in_memory.pop(0)
            given_up.is_given_up = True
            logger.error("segment %s is given up: newer ones wait to be saved too", given_up.ended.segment)

    def _forget(self, world: ClosedWorld) -> None:
        """The world's points are on disk, or given up."""
        world.ended = replace(world.ended, points=None, refinement_input=None)
        world.trajectory = TrajectoryRecorder()
        if world in self._in_memory:
            self._in_memory.remove(world)
        self._leave_room(world)

    def _leave_room(self, world: ClosedWorld) -> None:
        if world.takes_room:
            world.takes_room = False
            self._room.release()

    def _done(self, task: asyncio.Task) -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None:
            logger.error("a segment was not finished", exc_info=task.exception())
