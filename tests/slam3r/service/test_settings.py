"""Settings are checked at the start; health and metrics are there for those who watch."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import aiohttp
import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from common.configuration import to_dataclass
from common.errors import ConfigurationError, InputError
from slam3r.service.health import Health, serve_http
from slam3r.service.logs import json_formatter
from slam3r.service.metrics import Metrics
from slam3r.service.settings import BrokerSettings, HttpSettings, IntakeSettings, ServiceSettings
from tests.support.configs import compose_config
from tests.support.service_worker import LIVE


def test_prefetch_must_let_a_world_be_founded() -> None:
    IntakeSettings(prefetch=60).check_prefetch(LIVE)
    with pytest.raises(InputError, match=r"prefetch is 20, \d+ are needed"):
        IntakeSettings(prefetch=20).check_prefetch(LIVE)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("intake.batch=0", "batch: expected greater than or equal to 1, got 0"),
        ("broker.backoff_limit_seconds=0.1", "backoff_limit_seconds must be at least 0.5"),
        ("broker.consume=[1]", r"partitions 0 to 0, got \[1\]"),
        ("mesh.voxel=0", "voxel must be greater than 0"),
        ("segments.drain_seconds=-1", "drain_seconds must be at least 0"),
        ("http.port=80900", "port must be at most 65535"),
        ("intake.policy=newest", "drop_oldest"),
    ],
)
def test_a_number_that_makes_no_sense_is_named_at_the_start(override: str, problem: str) -> None:
    config = compose_config("serve", [f"service.{override}"])
    with pytest.raises(ConfigurationError, match=problem):
        to_dataclass(config.service, ServiceSettings)


def test_names_on_the_broker_are_bounded_in_bytes() -> None:
    BrokerSettings(frame_queue="x" * 240)
    with pytest.raises(ValueError, match="1 to 244 bytes"):
        BrokerSettings(frame_queue="\u00e9" * 123)


def test_health_and_metrics() -> None:
    async def scene() -> None:
        metrics, health = Metrics(), Health(True, 0.0, 0, 0.0, None)
        metrics.received.inc(3)
        state = [health]
        async with (
            serve_http(HttpSettings(port=0), 30.0, lambda: state[0], metrics) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        ):
            async with client.get("/healthz") as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, "ok")
            for change in ({"connected": False}, {"stalled_seconds": 100.0}, {"unconfirmed_seconds": 40.0}):
                state[0] = replace(health, **change)
                async with client.get("/healthz") as answer:
                    assert answer.status == 503
            async with client.get("/metrics") as answer:
                text = await answer.text()
            assert "slam3r_frames_received_total 3.0" in text
            assert "slam3r_frame_latency_seconds_bucket" in text
            assert "slam3r_resident_memory_bytes" in text
            with pytest.raises(InputError, match="cannot listen"):
                async with serve_http(HttpSettings(port=port), 30.0, lambda: health, Metrics()):
                    pass

    asyncio.run(scene())


def test_logs_are_one_json_object_per_line() -> None:
    record = logging.LogRecord("slam3r.service", logging.WARNING, "file", 1, "two\nlines of %s", ("text",), None)
    record.timestamp_ns = 5
    line = json_formatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["message"], entry["level"], entry["timestamp_ns"]) == ("two\nlines of text", "WARNING", 5)
    assert entry["logger"] == "slam3r.service" and entry["time"].startswith("20")
