"""One worker: frames from the broker through the networks and back. Decoding, inference and publishing overlap.

    broker -> ledger -> intake -> decode (threads) -> infer (one thread, batches) -> publish -> confirm -> acknowledge

Delivery is at least once: a frame is acknowledged when the broker has confirmed its result, when it was dropped on
purpose, or when it is in the dead-letter queue with the reason.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from common.errors import InputError
from common.geometry.calibration import Calibration
from slam3r.live.frame_preparer import FramePreparer
from slam3r.live.refining.segment_refiner import open_refiner
from slam3r.live.settings import LiveSettings
from slam3r.service.broker.connection import Broker
from slam3r.service.health import Health
from slam3r.service.intake.dead_letters import DeadLetters
from slam3r.service.intake.decoding import Decoder
from slam3r.service.intake.entrance import Entrance
from slam3r.service.intake.idle import IdleWatch
from slam3r.service.intake.ledger import Ledger
from slam3r.service.intake.line import Intake, Restart
from slam3r.service.intake.receiver import Receiver
from slam3r.service.intake.suspects import Suspects
from slam3r.service.mesh.pool import MeshPool
from slam3r.service.metrics import Metrics
from slam3r.service.results.publisher import ResultPublisher
from slam3r.service.segments.files import SegmentFolders
from slam3r.service.settings import ServiceSettings
from slam3r.service.state.folder import StateFolder
from slam3r.service.streams.events import Result
from slam3r.service.streams.sessions import SessionFactory
from slam3r.service.streams.streams import Streams
from slam3r.service.timeouts import timeout

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RESULTS_AHEAD = 64
"""Results that wait to be published while frames are still pushed."""
_ROOM_SECONDS = 0.05
_TICK_SECONDS = 0.5
_MARGIN_SECONDS = 1.5
"""Beyond `drain_seconds`, for threads and connections to end."""


class Worker:
    """Made and run inside an event loop, once."""

    def __init__(
        self,
        settings: ServiceSettings,
        live: LiveSettings,
        make_session: SessionFactory,
        threshold: float,
        calibration: Calibration | None = None,
    ) -> None:
        """
        Args:
            settings: of the service.
            live: of the sessions.
            make_session: for new segments and checkpoints.
            threshold: confidence above which points are published.
            calibration: of every camera; estimated where None.

        Raises:
            InputError: settings that contradict each other, or a state folder in use.
        """
        settings.intake.check_prefetch(live)
        if live.streaming.refine and not settings.segments.save:
            raise InputError("streaming.refine refines saved segments: it needs service.segments.save=true")
        if live.streaming.disk_map is not None:
            raise InputError("streaming.disk_map holds one session's maps: use service.segments.save=true here")
        self._settings, intake, segments = settings, settings.intake, settings.segments
        self.metrics = Metrics()
        self._state = StateFolder(Path(segments.state) if segments.state else None)
        database = self._state.database
        self._ledger = Ledger(intake.remembered_frames, database)
        self._broker = Broker(settings.broker, intake.policy, intake.prefetch, self.metrics)
        self._streams = Streams(make_session, self._state, intake.max_streams, keep_points=segments.save)
        self._meshes = self._make_pool(live.size)
        self._publisher = ResultPublisher(
            settings,
            threshold,
            self._broker,
            self._ledger,
            database,
            self._meshes,
            SegmentFolders(Path(segments.folder), self._state.worker),
            self.metrics,
            open_refiner(live.streaming, keep_unfinished=True),
        )
        self._intake = Intake(intake.policy, intake.pending_frames)
        self._idle = IdleWatch(segments.idle_seconds, _TICK_SECONDS)
        self._entrance = Entrance(self._ledger, self._intake, self.metrics)
        self._dead_letters = DeadLetters(settings.broker.exchanges.dead_letter, self._broker, self._entrance)
        self._suspects = Suspects(database, intake.fatal_attempts)
        self._receiver = Receiver(self._entrance, self._idle, self._dead_letters)
        prepare = FramePreparer(live.size, calibration, live.streaming.side_to_keep)
        self._decoder = Decoder(self._intake, self._suspects, self._dead_letters, prepare, intake)
        self._results: asyncio.Queue[Result] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._inference = ThreadPoolExecutor(1, "infer")
        self.is_stuck = False
        """After `run`: whether a thread still works on what took too long."""
        self._progress = self._checkpointed = time.monotonic()
        self.metrics.observe(self.metrics.queue_depth, lambda: len(self._intake))
        self.metrics.observe(self.metrics.open_frames, lambda: self._ledger.num_open)
        self.metrics.observe(self.metrics.streams, lambda: len(self._streams))
        self.metrics.observe(self.metrics.points, lambda: self._streams.num_points)
        self.metrics.observe(self.metrics.unconfirmed, lambda: self._broker.unconfirmed[0])

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what was begun, in no more than `drain_seconds` and a moment.

        Raises:
            BrokerError: the broker refuses us.
        """
        tasks: list[asyncio.Task] = []
        stopping = asyncio.create_task(stop.wait())
        try:
            restoring = asyncio.create_task(self._restore())
            await asyncio.wait([restoring, stopping], return_when=asyncio.FIRST_COMPLETED)
            tasks.append(restoring)
            if restoring.done():
                restoring.result()
                loops = (
                    self._broker.run(self._receiver.on_frame, self._receiver.on_restart),
                    self._decoder.run(),
                    self._infer(),
                    self._watch_idle(),
                    self._publisher.run(self._results),
                )
                tasks += [asyncio.create_task(loop) for loop in loops]
                await asyncio.wait([*tasks[1:], stopping], return_when=asyncio.FIRST_COMPLETED)
                for task in tasks[1:]:
                    if task.done():  # none of them ends by itself
                        task.result()
                await self._drain()
        finally:
            await self._shut_down([*tasks, stopping])

    def health(self) -> Health:
        """Return what ``/healthz`` shows."""
        idle = not len(self._intake) and not self._decoder.is_busy
        unconfirmed, oldest = self._broker.unconfirmed
        return Health(
            connected=self._broker.connected,
            stalled_seconds=0.0 if idle else time.monotonic() - max(self._progress, self._entrance.last_arrival),
            unconfirmed=unconfirmed,
            unconfirmed_seconds=oldest,
            save_error=self._publisher.saver.last_error,
        )

    @property
    def mesh_processes(self) -> list[int]:
        """Process ids."""
        return [] if self._meshes is None else self._meshes.process_ids

    def _make_pool(self, size: tuple[int, int]) -> MeshPool | None:
        mesh = self._settings.mesh
        if not mesh.enabled:
            return None
        folder = None if self._state.folder is None else self._state.folder / "mesh"
        return MeshPool(mesh, size, mesh.processes or self._settings.intake.max_streams, folder, self.metrics)

    async def _restore(self) -> None:
        await self._publisher.saver.recover()
        results = await self._in_thread(self._streams.restore)
        for key in self._streams.pending:
            self._ledger.adopt(key)
        for result in results:
            self._results.put_nowait(result)

    async def _infer(self) -> None:
        while True:
            batch = await self._decoder.next_batch(_TICK_SECONDS)
            if batch.frames:
                start, backwards = time.monotonic(), self._streams.num_backwards
                await self._publish(self._streams.push(batch.frames))
                self.metrics.inference.observe(time.monotonic() - start)
                self.metrics.backwards.inc(self._streams.num_backwards - backwards)
            if batch.restart is not None:
                await self._publish(self._streams.end(batch.restart.stream_id, batch.restart.reason))
            self._decoder.release(batch)
            await self._keep_checkpoints()
            self._progress = time.monotonic()

    async def _watch_idle(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.monotonic()
            streams = self._streams.names
            waiting = {name for name in streams if self._decoder.holds(name) or self._intake.holds(name)}
            if not self._broker.connected:  # frames may wait there
                waiting = streams
            candidates = self._idle.tick(now - last, streams, waiting)
            last = now
            if candidates:
                for name in self._idle.confirm(candidates, await self._broker.queued_frames()):
                    self._intake.put(Restart(name, "idle"))

    async def _keep_checkpoints(self) -> None:
        segments = self._settings.segments
        every = segments.checkpoint_seconds
        if every and segments.state and time.monotonic() - self._checkpointed > every and len(self._streams):
            await self._in_thread(self._streams.checkpoint)
            self._checkpointed = time.monotonic()

    async def _publish(self, results: Iterator[Result]) -> None:
        """Work through an iterator of `Streams`, and have each result published as soon as it is there.

        One call in the thread, so that no checkpoint comes between its results. With many that wait to be published
        (the broker may be gone), this returns when there are fewer.
        """

        def take(result: Result) -> None:
            self._results.put_nowait(result)
            self._progress = time.monotonic()

        def work() -> None:
            for result in results:
                self._loop.call_soon_threadsafe(take, result)

        await self._in_thread(work)
        while self._results.qsize() >= _RESULTS_AHEAD:
            await asyncio.sleep(_ROOM_SECONDS)

    async def _drain(self) -> None:
        """Take no more frames, finish those at hand, and write or end every world: all in `drain_seconds`."""
        logger.info("stopping: %d frames are open", self._ledger.num_open)
        segments = self._settings.segments
        deadline = time.monotonic() + segments.drain_seconds
        try:
            async with timeout(segments.drain_seconds):
                await self._broker.stop_consuming(min(2.0, segments.drain_seconds / 4))
                half = time.monotonic() + segments.drain_seconds / 2
                while (len(self._intake) or not self._decoder.is_idle) and time.monotonic() < half:
                    await asyncio.sleep(0.05)
                keep = bool(segments.checkpoint_seconds and segments.state)
                if not (keep and await self._in_thread(self._streams.checkpoint)):
                    # With checkpoints the next worker goes on, and gets the frames that are inside again.
                    await self._publish(self._streams.end(None, "stopped"))
                await self._results.join()
        except asyncio.TimeoutError:
            logger.warning("not everything could be finished in %.0f s", segments.drain_seconds)
        await self._dead_letters.drain(deadline - time.monotonic())
        await self._publisher.saver.drain(deadline - time.monotonic())
        logger.info("stopped: %d frames go back to the broker", self._ledger.num_open)

    async def _shut_down(self, tasks: Sequence[asyncio.Task]) -> None:
        """End everything in a few seconds. What is stuck in a thread is left to the end of the process."""
        self._dead_letters.close()
        self._publisher.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_MARGIN_SECONDS)
        closing: list[Callable[[], None]] = [] if self._meshes is None else [self._meshes.close]
        for pool in (self._decoder.threads, self._inference):
            closing.append(partial(pool.shutdown, wait=True, cancel_futures=True))
        threads = [threading.Thread(target=close, daemon=True) for close in closing]
        for thread in threads:
            thread.start()
        end = time.monotonic() + _MARGIN_SECONDS / 2
        while any(thread.is_alive() for thread in threads) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        self.is_stuck = any(thread.is_alive() for thread in threads)
        self._suspects.close()
        self._state.close()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Everything that touches sessions runs in the one inference thread."""
        return await self._loop.run_in_executor(self._inference, call)
