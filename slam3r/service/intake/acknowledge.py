"""Telling the broker that deliveries are done with."""

from __future__ import annotations

from collections.abc import Sequence

from slam3r.service.broker.errors import LOST
from slam3r.service.broker.settle import settle
from slam3r.service.intake.frames import Delivery


async def acknowledge(deliveries: Sequence[Delivery]) -> None:
    """Acknowledge deliveries. Those of a connection that is gone are not: the broker delivers them again, and they are
    recognised then."""
    for delivery in deliveries:
        try:
            await settle(delivery.ack())
        except LOST:
            continue
