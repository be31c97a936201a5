"""The live service: frames from RabbitMQ in; poses, points and meshes out, until SIGTERM."""

from __future__ import annotations

from common.errors import ConfigurationError
from slam3r.service.settings import ServeConfiguration

_EXTRA = ("aio_pika", "aiormq", "aiohttp", "msgpack", "pythonjsonlogger", "trimesh", "zstandard", "prometheus_client")


def serve(chosen: ServeConfiguration) -> None:
    """Run the service; without its extra, say how to install it."""
    try:
        from slam3r.service.serve import serve as run_service
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise ConfigurationError(f"{error.name} is missing: bash scripts/setup.sh service") from None
    run_service(chosen)
