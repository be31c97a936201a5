"""``/healthz`` and ``/metrics`` over HTTP, on the loopback interface unless told otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from common.errors import InputError
from slam3r.service.metrics import Metrics
from slam3r.service.settings import HttpSettings


@dataclass(frozen=True)
class Health:
    """Whether a worker does its work."""

    connected: bool
    """To the broker."""
    stalled_seconds: float
    """Time since the last finished frame while others wait."""
    unconfirmed: int
    """Messages that the broker has not answered yet."""
    unconfirmed_seconds: float
    """Age of the oldest of them."""
    save_error: str | None
    """Error of the last attempt to write a segment; a warning, as the stream goes on."""


@asynccontextmanager
async def serve_http(
    settings: HttpSettings, confirm_seconds: float, health: Callable[[], Health], metrics: Metrics
) -> AsyncIterator[int]:
    """Serve while the block runs; yields the port (0 where HTTP is switched off).

    Args:
        settings: of HTTP.
        confirm_seconds: age of an unconfirmed message that is unhealthy.
        health: asked for every request.
        metrics: of the worker.

    Raises:
        InputError: the port is taken.
    """
    if not settings.enabled:
        yield 0
        return

    async def healthz(request: web.Request) -> web.Response:
        now = health()
        well = (
            now.connected and now.stalled_seconds < settings.stall_seconds and now.unconfirmed_seconds < confirm_seconds
        )
        body = {"status": "ok" if well else "unhealthy", **vars(now)}
        return web.json_response(body, status=200 if well else 503)

    async def read_metrics(request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/metrics", read_metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, settings.host, settings.port)
            await site.start()
        except OSError as error:
            raise InputError(f"http.port: cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
