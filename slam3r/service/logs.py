"""Structured logs: one JSON object per line, so that collectors need no patterns."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

_PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_logs(structured: bool) -> None:
    """Let the root logger write to stdout, as JSON or as plain lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(json_formatter() if structured else logging.Formatter(_PLAIN))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for library in ("aiormq", "aio_pika"):  # they report every lost connection with a traceback
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def json_formatter() -> logging.Formatter:
    """Return the formatter of structured logs: time, level, logger, message, exception, and what is given as extra."""
    names = {"levelname": "level", "name": "logger", "exc_info": "exception"}
    return JsonFormatter("{levelname}{name}{message}", style="{", rename_fields=names, timestamp="time")
