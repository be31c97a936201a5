"""Frames are decoded ahead of the networks, in threads, and handed out in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from slam3r.live.frame_preparer import FramePreparer
from slam3r.service.frame_key import FrameKey
from slam3r.service.intake.dead_letters import DeadLetters
from slam3r.service.intake.frames import DecodedFrame, IncomingFrame, PoisonFrame, decode_frame
from slam3r.service.intake.line import Intake, Restart
from slam3r.service.intake.suspects import Suspects
from slam3r.service.settings import IntakeSettings
from slam3r.service.timeouts import timeout

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Work for the networks."""

    frames: list[DecodedFrame]
    restart: Restart | None
    """Follows the frames, where there is one."""
    num_taken: int
    """Items of the line that it stands for, with those that could not be decoded."""


class Decoder:
    """Takes frames from the line. What cannot be decoded goes to the dead letters.

    A frame is *in hand* from here until `release`: should the worker die meanwhile, it may be why (see `Suspects`).
    """

    def __init__(
        self,
        line: Intake,
        suspects: Suspects,
        dead_letters: DeadLetters,
        prepare: FramePreparer,
        settings: IntakeSettings,
    ) -> None:
        """
        Args:
            line: frames and restarts, in the order of their arrival.
            suspects: frames that must be handled alone, or not at all.
            dead_letters: takes what cannot be decoded.
            prepare: for the networks.
            settings: limits, and how far ahead.
        """
        self._line, self._suspects, self._dead_letters = line, suspects, dead_letters
        self._prepare, self._settings = prepare, settings
        self._ready: asyncio.Queue[Restart | tuple[IncomingFrame, asyncio.Future[DecodedFrame]]]
        self._ready = asyncio.Queue(settings.decode_ahead)
        self._in_hand: Counter[str] = Counter()
        self.threads = ThreadPoolExecutor(settings.decode_threads, "decode")
        """To be shut down by the owner."""
        self.is_busy = False
        """Whether a batch is taken and not released yet."""

    async def run(self) -> None:
        """Decode what comes. Ends by being cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            item = await self._line.get()
            if isinstance(item, Restart):
                await self._ready.put(item)
                continue
            if self._suspects.is_given_up(item.key):
                self._dead_letters.send(item.delivery, item.key, self._suspects.reason)
                continue
            alone = self._suspects.must_be_alone(item.key)
            if alone:
                await self._ready.join()
            self._suspects.take(item.key)
            self._in_hand[item.key.stream_id] += 1
            future = loop.run_in_executor(self.threads, decode_frame, item, self._prepare, self._settings)
            await self._ready.put((item, future))
            if alone:
                await self._ready.join()

    async def next_batch(self, seconds: float) -> Batch:
        """Wait for decoded frames, up to a batch, or a restart; an empty batch after so many seconds without any."""
        batch: list[DecodedFrame] = []
        taken = 0
        while len(batch) < self._settings.batch:
            if batch and self._ready.empty():
                break
            try:
                async with timeout(seconds):
                    item = await self._ready.get()
            except asyncio.TimeoutError:
                break
            self.is_busy, taken = True, taken + 1
            if isinstance(item, Restart):
                return Batch(batch, item, taken)
            frame, future = item
            try:
                batch.append(await future)
                continue
            except PoisonFrame as error:
                reason = str(error)
            except Exception as error:  # a decoder that fails on one picture must not stop the stream
                logger.exception("frame %d", frame.key.timestamp_ns)
                reason = f"{type(error).__name__}: {error}"
            self._let_go([frame.key])
            self._dead_letters.send(frame.delivery, frame.key, reason)
        return Batch(batch, None, taken)

    def release(self, batch: Batch) -> None:
        """The networks are done with a batch."""
        self._let_go([frame.incoming.key for frame in batch.frames])
        for _ in range(batch.num_taken):
            self._ready.task_done()
        self.is_busy = False

    def holds(self, stream_id: str) -> bool:
        """Whether a frame of a stream is in hand."""
        return self._in_hand[stream_id] > 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in hand."""
        return not self._in_hand and not self.is_busy

    def _let_go(self, keys: Sequence[FrameKey]) -> None:
        self._in_hand.subtract(key.stream_id for key in keys)
        self._in_hand += Counter()  # without those that are at 0
        self._suspects.release(keys)
