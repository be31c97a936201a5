"""A look at the structure of msgpack before it is decoded.

One byte of msgpack can stand for an object of 56 bytes, and a kilobyte that unfolds to many megabytes of them takes
half a minute. The messages of this service have a few hundred objects, so more are refused before any is made.
"""

from __future__ import annotations

from slam3r.service.wire.errors import MessageError

MOST_OBJECTS = 1024
DEEPEST = 4
"""Levels of maps and arrays: the message, an array of it, that array's shape, and one to spare."""

_FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
"""Bytes that follow the type: floats and integers."""
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length that follows the type: binary and text."""
_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Bytes of the count that follows the type, and objects per count: arrays and maps."""
_EXTENSIONS = {0xC7: 2, 0xC8: 3, 0xC9: 5, 0xD4: 1, 0xD5: 1, 0xD6: 1, 0xD7: 1, 0xD8: 1}
"""Position of the extension's own type after the type byte."""


def check_structure(body: bytes) -> None:
    """Check that a body holds one value of at most `MOST_OBJECTS` objects and `DEEPEST` levels.

    Raises:
        MessageError: it does not, or is no msgpack.
    """
    position, objects = 0, 0
    missing = [1]  # objects that are still to come, level by level
    while missing:
        if missing[-1] == 0:
            missing.pop()
            continue
        missing[-1] -= 1
        objects += 1
        if objects > MOST_OBJECTS:
            raise MessageError(f"the message has more than {MOST_OBJECTS} objects")
        try:
            position, inside = _step(body, position)
        except IndexError:
            raise MessageError("not msgpack: it is cut short") from None
        if inside:
            if len(missing) > DEEPEST:
                raise MessageError(f"the message has more than {DEEPEST} levels")
            missing.append(inside)
    if position != len(body):
        raise MessageError("not msgpack: it is cut short, or bytes are left over")


def _step(body: bytes, position: int) -> tuple[int, int]:
    """Position after an object's own bytes, and the number of objects that it contains."""
    kind, position = body[position], position + 1
    if kind <= 0x7F or kind >= 0xE0 or kind in (0xC0, 0xC2, 0xC3):
        return position, 0
    if kind <= 0x8F:
        return position, 2 * (kind & 0x0F)
    if kind <= 0x9F:
        return position, kind & 0x0F
    if kind <= 0xBF:
        return position + (kind & 0x1F), 0
    if kind in _FIXED:
        return position + _FIXED[kind], 0
    if kind in _SIZED:
        size = _SIZED[kind]
        return position + size + _number(body, position, size), 0
    if kind in _COUNTED:
        size, each = _COUNTED[kind]
        return position + size, each * _number(body, position, size)
    if kind in _EXTENSIONS:
        code = body[position + _EXTENSIONS[kind] - 1]
        raise MessageError(f"msgpack extension type {code} is not used here")
    raise MessageError(f"not msgpack: 0x{kind:02x} begins no value")


def _number(body: bytes, position: int, size: int) -> int:
    return int.from_bytes(body[position : position + size], "big")
