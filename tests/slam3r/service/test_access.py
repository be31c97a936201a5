"""Access to the broker: TLS with an own authority, and one clear error for each refusal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from common.errors import InputError
from slam3r.service.broker.errors import BrokerError
from slam3r.service.client import ServiceClient
from slam3r.service.settings import BrokerSettings
from tests.support.rabbitmq import RabbitMQ, make_certificates
from tests.support.service_worker import (
    Collector,
    count,
    make_place,
    queue_length,
    run_until_it_ends,
    running,
    send,
    until,
)


def test_addresses_never_show_their_password() -> None:
    settings = BrokerSettings(url="amqps://me:secret@host:5671/v")
    assert settings.address == "amqps://me:secret@host:5671/v"
    assert settings.public_address == "amqps://host:5671/v"
    assert BrokerSettings(host="rabbit").address == "amqp://rabbit/"
    with pytest.raises(InputError, match="amqp"):
        _ = BrokerSettings(url="http://host").address


@pytest.mark.parametrize("between", ["@", "/", "?", "#", "%", ":", "[", "]", "[x]"])
def test_a_password_that_was_not_encoded_is_refused_without_a_word_of_it(between: str) -> None:
    url = f"amqp://me:hush{between}quiet@host/"
    for use in (lambda: BrokerSettings(url=url).address, lambda: ServiceClient(url)):
        with pytest.raises(InputError, match="malformed") as refused:
            use()
        assert "hush" not in str(refused.value) and "quiet" not in str(refused.value)


def test_a_certificate_that_is_not_there_is_named_before_anything_starts(tmp_path: Path) -> None:
    missing = BrokerSettings(url=f"amqps://me:secret@host/?cafile={tmp_path / 'authority.pem'}")
    with pytest.raises(InputError, match=r"cafile .*authority\.pem does not exist") as refused:
        _ = missing.address
    assert "secret" not in str(refused.value)
    (tmp_path / "authority.pem").touch()
    assert missing.public_address == "amqps://host/"


@pytest.mark.slow
def test_a_queue_declared_otherwise_and_a_wrong_password_are_clear_errors(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        await Collector(place).declare()
        with pytest.raises(BrokerError, match="declared otherwise"):
            await run_until_it_ends(place.with_(intake={"policy": "drop_oldest"}))
        wrong = make_place(rabbitmq.url.replace("guest:guest", "guest:wrong"), tmp_path)
        with pytest.raises(BrokerError, match="user and password") as refused:
            await run_until_it_ends(wrong)
        assert "wrong" not in str(refused.value)

    asyncio.run(scene())


@pytest.mark.slow
def test_frames_and_results_over_tls(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    if rabbitmq.authority is None:
        pytest.skip("openssl is not installed, and makes the certificates")
    stranger = make_certificates(tmp_path / "stranger")
    assert stranger is not None
    safe, wrong = rabbitmq.tls_url(rabbitmq.authority), rabbitmq.tls_url(stranger)

    async def scene() -> None:
        place = make_place(safe, tmp_path)
        collector = Collector(place)
        await collector.declare()
        async with running(place) as worker:
            await send(place, range(8))
            await until(lambda: count(worker, "frames_published_total") >= 4)
        assert await collector.poses() == dict.fromkeys(range(8), 1)
        assert await queue_length(place, place.settings.broker.frame_queue) == 0
        with pytest.raises(BrokerError, match=r"not trusted .*cafile=PATH") as refused:
            await run_until_it_ends(make_place(wrong, tmp_path))
        assert "guest" not in str(refused.value)
        with pytest.raises(BrokerError, match=r"not trusted .*cafile=PATH"):
            async with ServiceClient(wrong):
                pass

    asyncio.run(scene())
