"""From a configuration to a running worker, and its end by a signal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
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
            loop.add_signal_handler(number, stop.set)
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
        logger.warning("what took too long is cut off; its frames go back to the broker")
        logging.shutdown()
        os._exit(0)
