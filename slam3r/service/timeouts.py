"""A timeout that never swallows a cancellation, as `asyncio.wait_for` does before Python 3.12. It raises
`asyncio.TimeoutError`."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

__all__ = ["timeout"]
