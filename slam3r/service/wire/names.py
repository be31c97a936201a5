"""Names of streams and segments, and the texts that AMQP bounds to 255 bytes."""

from __future__ import annotations

import hashlib
import re

LONGEST_NAME_BYTES = 128
"""UTF-8 bytes of the name of a stream or segment."""
SHORT_STRING_BYTES = 255
"""UTF-8 bytes of an AMQP short string: message ids, routing keys, names of exchanges and queues."""

_NAME = re.compile(r"[^\x00-\x1f\x7f]+")


def check_name(text: str) -> str:
    """Return the name of a stream or segment if it is one.

    Raises:
        ValueError: it is empty, too long, or holds control characters.
    """
    if not _NAME.fullmatch(text) or _size(text) > LONGEST_NAME_BYTES:
        raise ValueError(f"expected 1 to {LONGEST_NAME_BYTES} bytes of UTF-8 without control characters")
    return text


def identifier(*parts: object) -> str:
    """An unambiguous message id of the parts, of at most `SHORT_STRING_BYTES`: a digest where they are too long."""
    text = ":".join(str(part).replace("%", "%25").replace(":", "%3A") for part in parts)
    if _size(text) <= SHORT_STRING_BYTES:
        return text
    return f"{parts[0]}:{hashlib.sha256(text.encode()).hexdigest()}"


def routing_word(name: str) -> str:
    """A stream's word in routing keys, in which dots separate words."""
    return name.replace(".", "_")


def _size(text: str) -> int:
    return len(text.encode())
