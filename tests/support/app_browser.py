"""The application for tests: served from a thread, visited with a headless Chromium. Skips where there is none."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common.app.contract import Cloud, Outcome, Picture, PosedFrame, Watcher
from common.app.levels import levels_by_share
from common.app.settings import Limits
from tests.support.paths import ROOT

SCREENSHOTS = ROOT / "results" / "app_screenshots"
PATIENCE = 10 * 60_000
"""Milliseconds for anything at all: a busy machine is no fault."""
_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_SOFTWARE_GRAPHICS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


class Echo:
    """A system that gives a hundred points per picture; its model "endless" works until it is cancelled."""

    name, models, options = "Echo", ("prompt", "endless"), ()

    def run(self, source: Any, model: str, values: Any, watcher: Watcher) -> Outcome:
        while model == "endless":
            watcher.report("waiting", 1, 2)
            time.sleep(0.02)
        frames = list(source)
        count = 100 * len(frames)
        points = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
        cloud = Cloud(points, np.full((count, 3), 90, np.uint8), np.full(count, 9, np.float32))
        posed = [PosedFrame(f.name, f.timestamp, np.eye(4), np.eye(3), f.image.shape[:2]) for f in frames]
        strip = [Picture(frame.name, frame.image) for frame in frames[:2]]
        return Outcome(
            cloud, posed, levels_by_share(cloud.confidence, 1.0), strip=strip, figures={"First": frames[0].name}
        )


@contextmanager
def serving(systems: Sequence[Any], folder: Path, limits: Limits | None = None) -> Iterator[str]:
    """The address of the running application."""
    import uvicorn

    from common.app.server import make_server

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")
        app = make_server(systems, folder, limits or Limits())
        with socket.socket() as listening:  # the port is taken from here on: nobody else can have it
            listening.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.1)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
            server.should_exit = True
            thread.join(60)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that draws without a graphics card."""
    from playwright import sync_api

    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_SOFTWARE_GRAPHICS, timeout=PATIENCE)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {error}")
        yield browser
        browser.close()


def visit(browser: Any, address: str, scheme: str = "light") -> Any:
    """Another visitor's page; its system may be ``dark``."""
    size = {"width": 1280, "height": 720}
    page = browser.new_context(viewport=size, accept_downloads=True, color_scheme=scheme).new_page()
    page.set_default_timeout(PATIENCE)
    page.set_default_navigation_timeout(PATIENCE)
    page.goto(address)
    page.get_by_role("button", name="Reconstruct").wait_for()
    return page


def choose(page: Any, group: str, option: str) -> None:
    """Press one of the buttons of a choice."""
    page.get_by_role("radio", name=option, exact=True).click()
    assert page.get_by_role("radio", name=option, exact=True).is_checked(), f"{group}: {option}"


def start(page: Any) -> None:
    """Press the button."""
    page.get_by_role("button", name="Reconstruct").click()


def viewer(page: Any) -> Any:
    """The three-dimensional view."""
    return page.frame_locator("iframe.viewer")


def shown(page: Any) -> int:
    """Points that the view says it shows."""
    return int(viewer(page).locator("#count").get_attribute("data-shown") or 0)


def pixels(page: Any, name: str, drawn: str) -> np.ndarray:
    """The view (H, W, 3) BGR once it has drawn what a CSS selector of the canvas's state says; kept as a file."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    viewer(page).locator(f"canvas{drawn}").screenshot(path=SCREENSHOTS / f"{name}.png")
    page.screenshot(path=SCREENSHOTS / f"{name}_page.png", full_page=True)
    return np.asarray(cv2.imread(str(SCREENSHOTS / f"{name}.png")))
