"""The live service: frames from RabbitMQ in; poses, points and meshes out, until SIGTERM.

    RABBITMQ_URL=amqp://user:password@host/ slam3r serve [key=value ...]        or python scripts/serve.py

Every knob is in ``configs/serve.yaml``; the messages are described in ``slam3r/service/wire/schema.json``.
"""

from common.command.launch import launch
from slam3r.command.verbs import SERVE

if __name__ == "__main__":
    launch(SERVE)
