"""Deliveries of a broker that there is none of."""

from __future__ import annotations


class Message:
    """A delivery that counts its acknowledgements."""

    def __init__(self, body: bytes = b"", headers: dict | None = None) -> None:
        self.body, self.headers, self.acks = body, headers or {}, 0

    async def ack(self, multiple: bool = False) -> None:
        self.acks += 1
