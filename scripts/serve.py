"""The live service: frames from RabbitMQ in; poses, points and meshes out, until SIGTERM.

    RABBITMQ_URL=amqp://user:password@host/ python scripts/serve.py [model=slam3r_large] [key=value ...]

Every knob is in ``configs/serve.yaml``; the messages are described in ``slam3r/service/wire/schema.json``.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from common.command.launch import clear_errors, launch
from common.configuration import to_dataclass


@hydra.main(version_base="1.3", config_path="../configs", config_name="serve")
@clear_errors
def main(config: DictConfig) -> None:
    """Check the configuration and serve."""
    try:
        from slam3r.service.serve import serve
        from slam3r.service.settings import ServeConfiguration
    except ModuleNotFoundError as error:
        if error.name not in ("aio_pika", "aiohttp", "msgpack", "zstandard", "prometheus_client"):
            raise
        raise SystemExit(f"error: {error.name} is missing: pip install 'slam3r-uni3r[service]'") from None
    serve(to_dataclass(config, ServeConfiguration))


if __name__ == "__main__":
    launch(main)
