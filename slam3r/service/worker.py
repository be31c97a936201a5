"""One worker: frames from the broker through the networks and back. Decoding, inference and publishing overlap.

    broker -> ledger -> intake -> decode (threads) -> infer (one thread, batches) -> publish -> confirm -> acknowledge

Delivery is at least once: a frame is acknowledged when the broker has confirmed its result, when it was dropped on
purpose, or when it is in the dead-letter queue with the reason.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aio_pika.abc import AbstractIncomingMessage

from common.geometry.calibration import Calibration
from slam3r.live.frame_preparer import FramePreparer
from slam3r.live.settings import LiveSettings
from slam3r.service.broker import Broker
from slam3r.service.frames import DecodedFrame, Delivery, FrameKey, IncomingFrame, PoisonFrame, decode_frame, read_key
from slam3r.service.health import Health
from slam3r.service.intake import Intake, Restart
from slam3r.service.ledger import Ledger
from slam3r.service.metrics import Metrics
from slam3r.service.publisher import ResultPublisher
from slam3r.service.saved_state import StateFolder
from slam3r.service.sessions import SessionFactory
from slam3r.service.settings import ServiceSettings
from slam3r.service.streams import Result, Streams

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RESULTS_AHEAD = 64
_TICK_SECONDS = 0.5
_CONTROL_BYTES = 4096


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
        self._settings, intake = settings, settings.intake
        self.metrics = Metrics()
        self._state = StateFolder(Path(settings.segments.state) if settings.segments.state else None)
        self._ledger = Ledger(intake.remembered_frames, self._state.journal)
        self._broker = Broker(settings.broker, intake.policy, intake.prefetch, self.metrics)
        self._streams = Streams(make_session, self._state, intake.max_streams)
        self._publisher = ResultPublisher(settings, threshold, self._broker, self._ledger, self.metrics)
        self._prepare = FramePreparer(live.size, calibration)
        self._intake = Intake(intake.policy, intake.pending_frames)
        self._decoded: asyncio.Queue[Restart | tuple[IncomingFrame, asyncio.Future[DecodedFrame]]] = asyncio.Queue(
            intake.decode_ahead
        )
        self._results: asyncio.Queue[Result] = asyncio.Queue(_RESULTS_AHEAD)
        self._decoding = ThreadPoolExecutor(intake.decode_threads, "decode")
        self._inference = ThreadPoolExecutor(1, "infer")
        self._beside: set[asyncio.Task] = set()
        self._busy = False
        self._progress = self._checkpointed = time.monotonic()
        self.metrics.observe(self.metrics.queue_depth, lambda: len(self._intake))
        self.metrics.observe(self.metrics.open_frames, lambda: self._ledger.num_open)
        self.metrics.observe(self.metrics.streams, lambda: len(self._streams))
        self.metrics.observe(self.metrics.points, lambda: self._streams.num_points)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what was begun.

        Raises:
            BrokerError: the broker refuses us.
        """
        await self._restore()
        loops = (
            self._broker.run(self._on_frame, self._on_restart),
            self._decode(),
            self._infer(),
            self._publisher.run(self._results),
            self._publisher.saver.run(),
        )
        tasks = [asyncio.create_task(loop) for loop in loops]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():  # none of them ends by itself
                    task.result()
            await self._drain()
        finally:
            for task in (*tasks, stopping, *self._beside):
                task.cancel()
            await asyncio.gather(*tasks, stopping, *self._beside, return_exceptions=True)
            for pool in (self._decoding, self._inference):
                pool.shutdown(wait=True, cancel_futures=True)
            self._publisher.close()
            self._ledger.close()
            self._state.close()

    def health(self) -> Health:
        """For ``/healthz``."""
        idle = not len(self._intake) and not self._busy
        return Health(
            connected=self._broker.connected,
            stalled_seconds=0.0 if idle else time.monotonic() - self._progress,
            save_error=self._publisher.saver.last_error,
        )

    async def _restore(self) -> None:
        results = await self._in_thread(self._streams.restore)
        for key in self._streams.pending:
            self._ledger.adopt(key)
        for result in results:
            self._results.put_nowait(result)

    async def _on_frame(self, message: AbstractIncomingMessage) -> None:
        self.metrics.received.inc()
        try:
            key = read_key(message.headers)
        except PoisonFrame as error:
            self._spawn(self._dead_letter(message, None, str(error)))
            return
        offered = self._ledger.offer(key, message)
        if offered != "new":
            self.metrics.duplicates.inc()
            if offered == "done":
                await _acknowledge(message)
            return
        self._touch_if_idle()
        oldest = self._intake.put(IncomingFrame(key, message, time.monotonic()))
        if oldest is not None:
            self.metrics.dropped.labels("queue_full").inc()
            await self._ledger.complete(oldest.key, remember=False)

    async def _on_restart(self, message: AbstractIncomingMessage) -> None:
        """The body is empty (all streams), or JSON with ``stream_id``."""
        await _acknowledge(message)
        stream = None
        if message.body:
            try:
                stream = json.loads(message.body[:_CONTROL_BYTES])["stream_id"]
            except (ValueError, KeyError, TypeError):
                logger.warning("a message on the restart exchange is neither empty nor JSON with stream_id; ignored")
                return
        logger.info("restart of %s", "all streams" if stream is None else f"stream {stream}")
        self._intake.put(Restart(None if stream is None else str(stream)))

    async def _decode(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            item = await self._intake.get()
            if isinstance(item, Restart):
                await self._decoded.put(item)
                continue
            future = loop.run_in_executor(self._decoding, decode_frame, item, self._prepare, self._settings.intake)
            await self._decoded.put((item, future))

    async def _infer(self) -> None:
        while True:
            batch, restart = await self._next_batch()
            if batch:
                start, backwards = time.monotonic(), self._streams.num_backwards
                await self._give(await self._in_thread(partial(self._streams.push, batch)))
                self.metrics.inference.observe(time.monotonic() - start)
                self.metrics.backwards.inc(self._streams.num_backwards - backwards)
            if restart is not None:
                await self._give(await self._in_thread(partial(self._streams.end, restart.stream_id, restart.reason)))
            await self._keep_house()
            self._progress, self._busy = time.monotonic(), False

    async def _next_batch(self) -> tuple[list[DecodedFrame], Restart | None]:
        """What is decoded by now, up to a batch; nothing after a while, so that idle streams are seen to."""
        batch: list[DecodedFrame] = []
        while len(batch) < self._settings.intake.batch:
            if batch and self._decoded.empty():
                break
            try:
                item = await asyncio.wait_for(self._decoded.get(), _TICK_SECONDS)
            except asyncio.TimeoutError:
                break
            self._busy = True
            if isinstance(item, Restart):
                return batch, item
            frame, future = item
            try:
                batch.append(await future)
            except PoisonFrame as error:
                self._spawn(self._dead_letter(frame.delivery, frame.key, str(error)))
            except Exception as error:  # a decoder that fails on one picture must not stop the stream
                logger.exception("frame %d", frame.key.timestamp_ns)
                self._spawn(self._dead_letter(frame.delivery, frame.key, f"{type(error).__name__}: {error}"[:500]))
        return batch, None

    async def _keep_house(self) -> None:
        segments = self._settings.segments
        await self._give(await self._in_thread(partial(self._streams.end_idle, segments.idle_seconds)))
        every = segments.checkpoint_seconds
        if every and segments.state and time.monotonic() - self._checkpointed > every and len(self._streams):
            await self._in_thread(self._streams.checkpoint)
            self._checkpointed = time.monotonic()

    async def _give(self, results: list[Result]) -> None:
        for result in results:
            await self._results.put(result)

    async def _dead_letter(self, message: Delivery, key: FrameKey | None, reason: str) -> None:
        """Move a frame aside with the reason, and only then acknowledge it."""
        logger.warning("frame to the dead-letter queue: %s", reason, extra={"timestamp_ns": key and key.timestamp_ns})
        headers = {**(message.headers or {}), "reason": reason}
        kind = getattr(message, "content_type", None)
        exchange = self._settings.broker.exchanges.dead_letter
        await self._broker.publish(exchange, message.body, headers=headers, content_type=kind)
        self.metrics.dropped.labels("poison").inc()
        if key is None:
            await _acknowledge(message)
        else:
            await self._ledger.complete(key)

    async def _drain(self) -> None:
        """Take no more frames, finish those at hand, and write or end every world."""
        logger.info("stopping: %d frames are open", self._ledger.num_open)
        await self._broker.stop_consuming()
        deadline = time.monotonic() + self._settings.segments.drain_seconds
        while (len(self._intake) or not self._decoded.empty() or self._busy) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        segments = self._settings.segments
        kept = bool(segments.checkpoint_seconds and segments.state) and await self._in_thread(self._streams.checkpoint)
        if not kept:  # with checkpoints the next worker goes on, and gets the frames that are inside again
            await self._give(await self._in_thread(partial(self._streams.end, None, "stopped")))
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._results.join(), max(1.0, deadline - time.monotonic()))
        await asyncio.gather(*self._beside, return_exceptions=True) if self._broker.connected else None
        await self._publisher.saver.drain(max(1.0, self._settings.mesh.finish_timeout_seconds))
        logger.info("stopped: %d frames go back to the broker", self._ledger.num_open)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """All that touches sessions runs in the one inference thread."""
        return await asyncio.get_running_loop().run_in_executor(self._inference, call)

    def _touch_if_idle(self) -> None:
        if not len(self._intake) and not self._busy:
            self._progress = time.monotonic()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)


async def _acknowledge(message: Delivery) -> None:
    with suppress(Exception):  # of a connection that is gone: it will be delivered again
        await message.ack()
