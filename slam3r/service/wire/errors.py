"""The error of everything that reads messages."""

from __future__ import annotations


class MessageError(ValueError):
    """Bytes are not a message: too large, damaged, of another version, or with fields that do not fit."""
