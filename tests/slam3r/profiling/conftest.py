"""A RabbitMQ for the tests of this folder that ask for one."""

from tests.support.rabbitmq import rabbitmq

__all__ = ["rabbitmq"]
