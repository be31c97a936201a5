"""The broker's URL: checked before anything uses it, and shown without its credentials."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from common.errors import InputError

_URL = re.compile(
    r"(?P<scheme>amqps?)://"
    r"(?:(?P<credentials>[^@/?#\s]*)@)?"
    r"(?P<host>\[[0-9a-fA-F:.]+\]|[^@:/?#\[\]\s]*)(?::(?P<port>\d{1,5}))?"
    r"(?P<path>/[^@?#\s]*)?(?:\?(?P<query>[^@#\s]*))?"
)
_PART_OF_CREDENTIALS = re.compile(r"(?:[^%:\[\]]|%[0-9a-fA-F]{2})*")
_FILES = ("cafile", "certfile", "keyfile")


def check_address(url: str, name: str = "broker.url (or RABBITMQ_URL)") -> str:
    """Return the URL if it is one of AMQP.

    Args:
        url: ``amqp://user:password@host:port/virtual_host`` or ``amqps://``.
        name: of the setting, for the error.

    Raises:
        InputError: it is malformed, or names a file that does not exist. The text never holds any part of the URL that
            might belong to a password.
    """
    if not url.startswith(("amqp://", "amqps://")):
        raise InputError(f"{name} must begin with amqp:// or amqps://")
    match = _URL.fullmatch(url)
    parts = ((match["credentials"] or "") if match else "::").split(":")
    if match is None or len(parts) > 2 or not all(_PART_OF_CREDENTIALS.fullmatch(part) for part in parts):
        raise InputError(
            f"{name} is malformed: expected amqp://user:password@host:port/, where the characters : / ? # @ % [ ] of "
            "user, password and file names are written as %3A %2F %3F %23 %40 %25 %5B %5D"
        )
    if match["port"] and not 0 < int(match["port"]) < 65536:
        raise InputError(f"{name}: the port must be between 1 and 65535")
    for file in _FILES:
        for path in parse_qs(match["query"] or "").get(file, ()):
            if not Path(path).is_file():
                raise InputError(f"{name}: {file} {path} does not exist")
    return url


def public_address(url: str) -> str:
    """Scheme, host, port and path of a checked URL, for logs and errors."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def user_of(url: str) -> str:
    """Name of the user in a checked URL."""
    return urlsplit(url).username or "guest"
