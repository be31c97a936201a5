"""The socket to the broker, beneath the client library: it survives what the library cannot decode, knows when the
broker was last heard, and can be dropped without a farewell.

A message whose properties the library cannot decode (a timestamp in nanoseconds, tables nested a thousand deep, a key
that is not UTF-8) would end the connection, be delivered again with the next one, and so for ever. Here its properties
are replaced by the header `UNDECODABLE`, which holds the reason, and it arrives like any other.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, cast

import aio_pika
import pamqp.commands
import pamqp.constants
import pamqp.frame
import pamqp.header
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import ConnectionNotAllowed, InvalidFrameError
from yarl import URL

UNDECODABLE = "slam3r-undecodable"
"""Header of a message whose own properties could not be decoded; its value says why."""

_HEAD = struct.Struct(">BHI")
_BODY_SIZE = struct.Struct(">HHQ")
_LARGEST_FRAME = 16 << 20
_CLOSE = struct.pack(">I", pamqp.commands.Connection.Close.index)
_NOT_ALLOWED = 530


class Transport(TransportFactory):
    """Makes the sockets of one connection, one at a time."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None
        self.frames_received = 0
        """Grows with everything that the broker sends, heartbeats included."""
        self.farewell: pamqp.commands.Connection.Close | None = None
        """The broker's reason for closing the connection."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; called by the client library."""
        inner = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, self._writer = await inner.create(url, **kwargs)
        return cast(asyncio.StreamReader, _Reader(reader, self)), self._writer

    def drop(self) -> None:
        """Close the socket at once; what was not sent yet is forgotten."""
        if self._writer is not None:
            self._writer.transport.abort()


class Connection(aio_pika.Connection):
    """A connection over a `Transport`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.socket = Transport()
        self.kwargs["transport_factory"] = self.socket

    async def connect(self, timeout: float | None = None) -> None:
        """Connect; a virtual host that is missing or forbidden is an error of its own."""
        try:
            await super().connect(timeout)
        except InvalidFrameError:  # all that the library says of it
            farewell = self.socket.farewell
            if farewell is not None and farewell.reply_code == _NOT_ALLOWED:
                raise ConnectionNotAllowed(farewell.reply_text) from None
            raise


class RobustConnection(aio_pika.RobustConnection):
    """A connection over a `Transport` that comes back when it is lost."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kwargs["transport_factory"] = Transport()


class _Reader:
    """Part of `asyncio.StreamReader` that the client library uses. Reads whole AMQP frames."""

    def __init__(self, reader: asyncio.StreamReader, transport: Transport) -> None:
        self._reader, self._transport = reader, transport
        self._frame, self._position = b"", 0

    async def readexactly(self, count: int) -> bytes:
        if self._position == len(self._frame):
            self._frame, self._position = await self._next_frame(), 0
        start = self._position
        self._position = min(start + count, len(self._frame))
        return self._frame[start : self._position]

    async def read(self, count: int = -1) -> bytes:
        return await self._reader.read(count)

    def at_eof(self) -> bool:
        return self._position == len(self._frame) and self._reader.at_eof()

    async def _next_frame(self) -> bytes:
        head = await self._reader.readexactly(_HEAD.size)
        if head.startswith(b"AMQP"):  # the broker speaks another version; the library reports it
            return head
        kind, channel, size = _HEAD.unpack(head)
        if size > _LARGEST_FRAME:
            raise ConnectionError(f"the broker announces a frame of {size} bytes")
        frame = head + await self._reader.readexactly(size + 1)
        self._transport.frames_received += 1
        if kind == pamqp.constants.FRAME_METHOD and frame[_HEAD.size :].startswith(_CLOSE):
            self._transport.farewell = cast(pamqp.commands.Connection.Close, pamqp.frame.unmarshal(frame)[2])
        return decodable(frame, channel) if kind == pamqp.constants.FRAME_HEADER else frame


def decodable(frame: bytes, channel: int) -> bytes:
    """A content header frame that the client library can decode: the frame itself, or one with `UNDECODABLE`."""
    try:
        pamqp.frame.unmarshal(frame)
        return frame
    except Exception as error:  # the library raises many kinds, RecursionError and OverflowError among them
        _, _, body_size = _BODY_SIZE.unpack_from(frame, _HEAD.size)
        reason = f"{type(error).__name__}: {error}".encode()[:200].decode(errors="ignore")
        properties = pamqp.commands.Basic.Properties(headers={UNDECODABLE: reason})
        header = pamqp.header.ContentHeader(0, body_size, properties)
        return pamqp.frame.marshal(header, channel)
