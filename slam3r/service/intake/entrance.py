"""The way into the line, for new deliveries and for those that take the place of an unusable one."""

from __future__ import annotations

import time

from slam3r.service.frame_key import FrameKey
from slam3r.service.intake.acknowledge import acknowledge
from slam3r.service.intake.frames import Delivery, IncomingFrame
from slam3r.service.intake.ledger import Ledger
from slam3r.service.intake.line import Intake
from slam3r.service.metrics import Metrics


class Entrance:
    """Lets frames into the line; the one that has to go for it is counted and acknowledged."""

    def __init__(self, ledger: Ledger, line: Intake, metrics: Metrics) -> None:
        self.ledger, self.line, self.metrics = ledger, line, metrics
        self.last_arrival = time.monotonic()
        """`time.monotonic` when a frame last came into an empty line."""

    async def take(self, key: FrameKey, delivery: Delivery) -> None:
        """Put a frame, which is open in the ledger, at the end of the line."""
        now = time.monotonic()
        if not len(self.line):
            self.last_arrival = now
        oldest = self.line.put(IncomingFrame(key, delivery, now))
        if oldest is not None:
            self.metrics.dropped.labels("queue_full").inc()
            await acknowledge(self.ledger.drop(oldest.key))
