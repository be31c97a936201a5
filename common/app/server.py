"""The web server: the page, the viewer's files, and the scenes by their tokens."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.app.contract import Outcome, System
from common.app.pages.style import CSS
from common.app.scenes import SceneStore
from common.app.settings import Limits, ServerSettings
from common.errors import ConfigurationError

if TYPE_CHECKING:
    from fastapi import FastAPI

_ASSETS = Path(__file__).with_name("assets")
_VIEWER_FILES = {
    "viewer.html": "text/html; charset=utf-8",
    "viewer.js": "text/javascript",
    "orbit.js": "text/javascript",
    "shaders.js": "text/javascript",
}
_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"


def make_server(systems: Sequence[System], folder: Path, limits: Limits, root_path: str = "") -> FastAPI:
    """The application as an ASGI app.

    Args:
        systems: to choose from.
        folder: for uploads and results; whoever made it removes it.
        limits: of what visitors may give.
        root_path: see `ServerSettings`.

    Raises:
        ImportError: naming the extra to install.
    """
    _check_gradio()
    from common.app.pages.application import build_page

    _keep_files_in(folder)
    scenes = SceneStore(folder / "scenes", limits.hours)
    return _with_page(build_page(systems, scenes, limits), scenes, limits, root_path)


def make_viewer(title: str, outcome: Outcome, folder: Path, root_path: str = "") -> FastAPI:
    """One finished scene as an ASGI app.

    Args:
        title: name of the scene.
        outcome: what is shown.
        folder: for files that visitors ask for; whoever made it removes it.
        root_path: see `ServerSettings`.

    Raises:
        ImportError: naming the extra to install.
    """
    _check_gradio()
    from common.app.pages.finished_scene import build_view_page

    _keep_files_in(folder)
    scenes = SceneStore(folder / "scenes")
    return _with_page(build_view_page(title, outcome, scenes), scenes, Limits(), root_path)


def serve(app: Callable[[Path], FastAPI], settings: ServerSettings, announce: Callable[[str], None]) -> None:
    """Run an application until Ctrl-C or a termination signal; what visitors left is removed at the end.

    Args:
        app: makes the application, given a folder for files.
        settings: where it listens; port 0 takes a free one.
        announce: called with the address once the application answers there.

    Raises:
        ConfigurationError: the address cannot be listened on; found before `app` is called.
        ImportError: naming the extra to install.
    """
    _check_gradio()
    import uvicorn

    with (
        closing(_bound(settings)) as listening,
        tempfile.TemporaryDirectory(prefix="reconstruction-app-", ignore_cleanup_errors=True) as folder,
    ):
        # uvicorn passes the signal on when it has closed; unhandled, it would end the process before the files go.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

        class Server(uvicorn.Server):
            """Tells when it has started."""

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    host = f"[{settings.host}]" if ":" in settings.host else settings.host
                    announce(f"http://{host}:{listening.getsockname()[1]}{settings.root_path}")

        server = Server(uvicorn.Config(app(Path(folder)), log_level="warning"))
        with suppress(KeyboardInterrupt):  # the usual way to end it
            server.run(sockets=[listening])


def _bound(settings: ServerSettings) -> socket.socket:
    """A socket at the address, which nobody else can have from here on.

    Raises:
        ConfigurationError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"server.port={settings.port} at server.host={settings.host}: {reason[:1].lower()}{reason[1:]}; "
            "choose another server.port"
        ) from error
    return listening


def _check_gradio() -> None:
    try:
        import fastapi  # noqa: F401
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError("the application needs gradio: bash scripts/setup.sh app") from error


def _keep_files_in(folder: Path) -> None:
    """Folder in which gradio puts uploads, and the pictures that a page is built with."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")  # the only way to say so


def _with_page(blocks: Any, scenes: SceneStore, limits: Limits, root_path: str) -> FastAPI:
    import gradio as gr
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_viewer(app, scenes)
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        show_error=False,
        max_file_size=limits.megabytes * 1_000_000,
        root_path=root_path or None,
        footer_links=[],
        ssr_mode=False,
        css=CSS,
    )


def _add_viewer(app: FastAPI, scenes: SceneStore) -> None:
    from fastapi import Response

    # No postponed annotations here would reach FastAPI: the routes take plain strings only.
    def viewer_file(name: str) -> Response:
        kind = _VIEWER_FILES.get(name)
        if kind is None:
            return Response(status_code=404)
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
        return Response((_ASSETS / name).read_bytes(), media_type=kind, headers=headers)

    def scene_file(token: str, after: str = "") -> Response:
        scene = scenes.find(token)
        if scene is None:
            return Response(status_code=404)
        if scene.version == after:
            return Response(status_code=204)
        return Response(scene.packed(), media_type="application/octet-stream", headers={"Cache-Control": "no-store"})

    app.add_api_route("/viewer/{name}", viewer_file, methods=["GET"], response_class=Response, response_model=None)
    app.add_api_route("/scene/{token}", scene_file, methods=["GET"], response_class=Response, response_model=None)
