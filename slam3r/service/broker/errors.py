"""Permanent refusals of the broker, one line each; everything else is retried."""

from __future__ import annotations

import asyncio
import ssl

from aiormq.exceptions import (
    AMQPError,
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    ConnectionNotAllowed,
    ProbableAuthenticationError,
)

from common.errors import InputError
from slam3r.service.broker.address import public_address, user_of

LOST = (AMQPError, ConnectionError, OSError, RuntimeError, asyncio.TimeoutError)
"""Raised by aio-pika when a connection or a channel is gone; RuntimeError stands for its invalid channel state."""


class BrokerError(InputError):
    """The broker cannot be used as it is: wrong credentials or virtual host, missing permissions, an untrusted
    certificate, or queues that were declared otherwise before."""


class PublishRefused(Exception):
    """A message that the broker can never take, however often it is sent."""


def refusal(error: BaseException, url: str) -> BrokerError | None:
    """The error for the user, or None for an error that may pass.

    Args:
        error: from the client library.
        url: of the broker; credentials do not get into the text.
    """
    where = public_address(url)
    if isinstance(error, ProbableAuthenticationError):
        return BrokerError(f"the broker at {where} does not accept the user and password of the URL")
    if isinstance(error, ConnectionNotAllowed):
        return BrokerError(f"the broker at {where} has no such virtual host, or user {user_of(url)!r} may not use it")
    if isinstance(error, ChannelAccessRefused):
        return BrokerError(
            f"the broker at {where} denies user {user_of(url)!r} a permission: {_reply(error)} "
            "(slam3r/service/README.md lists what each program needs)"
        )
    if isinstance(error, ChannelPreconditionFailed):
        return BrokerError(
            f"{_reply(error)}: declared otherwise on the broker (another policy, limit or number of partitions?); "
            "delete it there when it is empty, or choose another broker.frame_queue"
        )
    if (distrust := _distrust(error)) is not None:
        return BrokerError(
            f"the certificate of the broker at {where} is not trusted ({distrust.verify_message}): "
            "name the certificate of its authority in the URL, as amqps://.../?cafile=PATH"
        )
    return None


def _reply(error: BaseException) -> str:
    return str(error.args[-1] if error.args else error)


def _distrust(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The reason why a connection was not made, where it is the broker's certificate."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error
