"""From a configuration to a running worker, and its end by a signal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from contextlib import suppress

import torch

from slam3r.live.settings import LiveSettings, for_live
from slam3r.pretrained import ready_model
from slam3r.service.health import serve_http
from slam3r.service.logs import configure_logs
from slam3r.service.settings import ServeConfiguration
from slam3r.service.streams.sessions import live_sessions
from slam3r.service.worker import Worker

logger = logging.getLogger(__name__)

_LAST_SECONDS = 0.5
_MARGIN_SECONDS = 4.5
"""Beyond `drain_seconds`; the worker itself takes less unless something hangs."""


def serve(chosen: ServeConfiguration) -> None:
    """Run a worker until SIGTERM or SIGINT, then let it finish what it has begun.

    Raises:
        InputError, CheckpointError: what is wrong with the configuration, before any frame is taken.
    """
    configure_logs(chosen.structured_logs)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    live = LiveSettings(for_live(chosen.reconstruction), chosen.streaming, chosen.size)
    chosen.service.intake.check_prefetch(live)
    _ = chosen.service.broker.address  # is it an address at all?
    ready = ready_model(chosen.model, chosen.reconstruction, chosen.device, chosen.dtype)
    asyncio.run(_run(chosen, live, live_sessions(ready.network, live)))


async def _run(chosen: ServeConfiguration, live: LiveSettings, make_session) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, _stop, stop, chosen.service.segments.drain_seconds)
    worker = Worker(chosen.service, live, make_session, chosen.model.confidence.registered, chosen.camera)
    confirm_seconds = chosen.service.broker.confirm_seconds
    async with serve_http(chosen.service.http, confirm_seconds, worker.health, worker.metrics) as port:
        logger.info("serving", extra={"http_port": port, "model": chosen.model.name})
        await worker.run(stop)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    pending = left and (await asyncio.wait(left, timeout=_LAST_SECONDS))[1]
    if worker.is_stuck or pending:  # Python would wait for a thread, and asyncio for the farewell to a silent broker
        _cut_off()


def _stop(stop: asyncio.Event, drain_seconds: float) -> None:
    """Let the worker finish, and see to it that the process ends in time, whatever a thread of it still waits for."""
    stop.set()
    limit = threading.Timer(drain_seconds + _MARGIN_SECONDS, _cut_off)
    limit.daemon = True
    limit.start()


def _cut_off() -> None:
    logger.warning("what took too long is cut off; its frames go back to the broker")
    logging.shutdown()
    os._exit(0)
