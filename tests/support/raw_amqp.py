"""Messages that no client library would send: AMQP frames over a plain socket."""

from __future__ import annotations

import socket
import struct
from urllib.parse import urlsplit

import pamqp.frame
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ProtocolHeader

HEADERS, TIMESTAMP = 1 << 13, 1 << 6
"""Flags of the two properties that are used here; they follow in this order."""


def publish_raw(url: str, exchange: str, flags: int, properties: bytes, body: bytes) -> None:
    """Publish a message with properties as raw bytes.

    Raises:
        ConnectionError: the broker does not take it.
    """
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), 30) as link:
        reader = link.makefile("rb")

        def receive() -> pamqp.frame.FrameTypes:
            head = reader.read(7)
            (size,) = struct.unpack(">I", head[3:])
            return pamqp.frame.unmarshal(head + reader.read(size + 1))[2]

        def send(*frames: bytes) -> None:
            link.sendall(b"".join(frames))

        send(ProtocolHeader().marshal())
        receive()
        login = f"\0{parts.username}\0{parts.password}"
        send(pamqp.frame.marshal(commands.Connection.StartOk(client_properties={}, response=login), 0))
        tune = receive()
        size = tune.frame_max  # type: ignore[union-attr]
        send(pamqp.frame.marshal(commands.Connection.TuneOk(channel_max=1, frame_max=size, heartbeat=0), 0))
        send(pamqp.frame.marshal(commands.Connection.Open(), 0))
        receive()
        send(pamqp.frame.marshal(commands.Channel.Open(), 1))
        receive()
        header = struct.pack(">HHQH", 60, 0, len(body), flags) + properties
        send(
            pamqp.frame.marshal(commands.Basic.Publish(exchange=exchange), 1),
            struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce",
            pamqp.frame.marshal(ContentBody(body), 1),
            pamqp.frame.marshal(commands.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0), 1),
        )
        answer = receive()  # the broker has read everything before
        if not isinstance(answer, commands.Channel.CloseOk):
            raise ConnectionError(f"the broker refuses it: {answer}")


def table(key: bytes, value: bytes) -> bytes:
    """A table of one entry; the value begins with its type."""
    entry = bytes([len(key)]) + key + value
    return struct.pack(">I", len(entry)) + entry


def nested_tables(depth: int) -> bytes:
    """A table in a table in a table."""
    inside = struct.pack(">I", 0)
    for _ in range(depth):
        inside = table(b"a", b"F" + inside)
    return inside
