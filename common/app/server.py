"""The web server: the page, the viewer's files, and the scenes by their tokens."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.app.contract import System
from common.app.scenes import SceneStore
from common.app.settings import Limits, ServerSettings

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
    try:
        import gradio as gr
        from fastapi import FastAPI
    except ImportError as error:
        raise ImportError("the application needs gradio: pip install 'slam3r-uni3r[app]'") from error
    from common.app.page import CSS, build_page

    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")  # the only way to say so
    scenes = SceneStore(folder / "scenes", limits.hours)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_viewer(app, scenes)
    blocks = build_page(systems, scenes, limits)
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


def serve(systems: Sequence[System], settings: ServerSettings, limits: Limits) -> None:
    """Run the application until Ctrl-C or a termination signal; what visitors left is removed at the end."""
    # uvicorn passes the signal on when it has closed; unhandled, it would end the process before the files are gone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="reconstruction-app-", ignore_cleanup_errors=True) as folder:
        app = make_server(systems, Path(folder), limits, settings.root_path)
        import uvicorn

        uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning")


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
