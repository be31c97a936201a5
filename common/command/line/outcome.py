"""Ends of a command: user errors are one clear line and exit status 2, never a traceback."""

from __future__ import annotations

import sys
from typing import NoReturn

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_LONGEST_MESSAGE = 1500


def stop(message: str) -> NoReturn:
    """End the process with a line on stderr and the exit status of user errors."""
    first, *rest = (line.strip() for line in message.splitlines())
    message = f"{first} {'; '.join(rest)}".strip()
    if len(message) > _LONGEST_MESSAGE:  # a checkpoint of another model can misfit in a thousand names
        message = message[:_LONGEST_MESSAGE] + " ..."
    sys.stderr.write(f"error: {message}\n")
    sys.exit(EXIT_USER_ERROR)
