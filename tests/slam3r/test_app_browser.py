"""The application as a visitor has it: in a headless Chromium, with the weights that ship and the sample room.

Screenshots stay in ``results/app_screenshots``.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")
pytest.importorskip("gradio", reason="comes with the extra app")

from playwright import sync_api

from common.export.ply import read_ply
from common.presentation import Cloud, Outcome, Splats, Watcher
from slam3r.app.inputs import Limits
from slam3r.app.server import make_server
from slam3r.app.slam3r_system import Slam3rSystem

pytestmark = pytest.mark.slow
SCREENSHOTS = Path(__file__).resolve().parents[2] / "results" / "app_screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SOFTWARE_GRAPHICS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
MINUTES = 60_000
SIGMA, OPACITY = 0.2, 0.9


class OneGaussian:
    """A round Gaussian of deviation `SIGMA` in the middle of a box of side 2, whose corners are all but transparent."""

    name, models, options = "One Gaussian", ("only",), ()

    def run(self, source: Any, model: str, values: Any, watcher: Watcher) -> Outcome:
        corners = np.repeat([[-1.0, -1, -1], [1, 1, 1]], 50, axis=0)
        points = np.concatenate([[[0.0, 0, 0]], corners]).astype(np.float32)
        opacities = np.array([OPACITY] + [1e-4] * 100, np.float32)
        cloud = Cloud(points, np.zeros((101, 3), np.uint8), np.full(101, 2, np.float32))
        turns = np.tile(np.float32([0.5, 0.5, -0.5, 0.5]), (101, 1))
        return Outcome(cloud, [], 1.0, Splats(np.full((101, 3), SIGMA, np.float32), turns, opacities))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running application."""
    import uvicorn

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")
        systems = [Slam3rSystem(models=("slam3r_tiny",)), OneGaussian()]
        app = make_server(systems, tmp_path_factory.mktemp("server"), Limits())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """The page after the sample room was reconstructed with a stride of 2, which spares the search."""
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE_GRAPHICS)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {error}")
        page = browser.new_page(viewport={"width": 1280, "height": 720}, accept_downloads=True)
        page.set_default_timeout(2 * MINUTES)
        page.goto(address)
        page.get_by_label("number input for Keyframe stride").fill("2")
        page.get_by_role("button", name="Reconstruct").click()
        page.get_by_label("Progress").wait_for()
        page.get_by_text("posed frames").wait_for(timeout=8 * MINUTES)
        sync_api.expect(viewer(page).locator("#count")).not_to_contain_text("growing")
        yield page
        browser.close()


def viewer(page: Any) -> Any:
    return page.frame_locator("iframe.viewer")


def pixels(page: Any, name: str) -> np.ndarray:
    """The view as a picture, which is kept."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(500)
    viewer(page).locator("canvas").screenshot(path=SCREENSHOTS / f"{name}.png")
    page.screenshot(path=SCREENSHOTS / f"{name}_page.png", full_page=True)
    return cv2.imread(str(SCREENSHOTS / f"{name}.png"))


def shown(page: Any) -> int:
    return int(viewer(page).locator("#count").get_attribute("data-shown"))


def test_the_view_shows_a_scene(page: Any) -> None:
    image = pixels(page, "points")
    drawn = (np.abs(image.astype(int) - (243, 240, 238)).max(axis=-1) > 20).mean()
    assert drawn > 0.05, f"{drawn:.1%} of the view is drawn"
    assert image.reshape(-1, 3).std(axis=0).min() > 5


def test_confidence_changes_the_view_and_asks_the_server_nothing(page: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    before = shown(page)
    assert before > 1000
    page.get_by_label("number input for Confidence").fill("8")
    page.get_by_label("number input for Confidence").press("Tab")
    sync_api.expect(viewer(page).locator("#count")).not_to_have_attribute("data-shown", str(before))
    assert shown(page) < before
    assert not [url for url in asked if "/scene/" not in url], "the view follows without the server"
    before_image = pixels(page, "confident")
    page.get_by_label("Colour by").click()
    page.get_by_role("option", name="Height").click()
    assert (pixels(page, "height") != before_image).mean() > 0.01


def test_the_downloaded_points_are_those_above_the_confidence(page: Any, tmp_path: Path) -> None:
    page.get_by_label("number input for Confidence").fill("6")
    page.get_by_label("number input for Confidence").press("Tab")
    page.get_by_role("tab", name="Downloads").click()
    page.get_by_role("button", name="Prepare the files").click()
    page.get_by_text("The files hold").wait_for()
    with page.expect_download() as waiting:
        page.locator("a[download='points.ply']").first.click()
    waiting.value.save_as(tmp_path / "points.ply")
    cloud = read_ply(tmp_path / "points.ply")
    assert len(cloud.points) > 1000 and (cloud.confidence > 6).all()


def test_it_can_be_used_on_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    pixels(page, "phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 392, "nothing sticks out to the side"
    page.set_viewport_size({"width": 1280, "height": 720})


def test_every_control_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea")].filter((e) => e.offsetParent &&
        !(e.ariaLabel || e.title || e.innerText?.trim() || e.labels?.length || e.placeholder))
        .map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_an_unreadable_file_is_a_sentence(page: Any, tmp_path: Path) -> None:
    files = [tmp_path / f"broken{i}.jpg" for i in range(3)]
    for file in files:
        file.write_bytes(b"this is no picture")
    page.get_by_label("Pictures or a video").first.click()
    page.locator("input[type=file]").first.set_input_files([str(file) for file in files])
    page.get_by_text("broken2").first.wait_for()
    page.get_by_role("button", name="Reconstruct").click()
    alert = page.locator("#status p.alert")
    alert.wait_for()
    sentence = alert.inner_text()
    pixels(page, "unreadable")
    assert "broken0.jpg" in sentence and "/" not in sentence.replace(" / ", ""), sentence
    assert "Traceback" not in page.content()


def test_a_gaussian_is_as_large_and_as_dense_as_it_should_be(page: Any, address: str) -> None:
    other = page.context.browser.new_page(viewport={"width": 1280, "height": 720})  # another visitor at the same time
    other.goto(address)
    other.get_by_label("One Gaussian").click()
    other.get_by_role("button", name="Reconstruct").click()
    other.get_by_text("101 Gaussians from").wait_for()
    sync_api.expect(viewer(other).locator("#count")).to_have_text("101 Gaussians")
    image = pixels(other, "gaussian")[..., 1].astype(float)
    height, width = image.shape
    covered = 1 - image / 240  # of the background
    # The viewer stands 0.95 diagonals away and sees 45 degrees: the projection is a Gaussian of this deviation.
    sigma = SIGMA * height / 2 / np.tan(np.radians(22.5)) / (0.95 * 2 * np.sqrt(3))
    row, column = np.mgrid[:height, :width]
    distance = np.hypot(row - (height - 1) / 2, column - (width - 1) / 2)
    near = (distance < 2.5 * sigma) & (row > 60) & (row < height - 60)  # not where words are written
    expected = OPACITY * np.exp(-0.5 * (distance / sigma) ** 2)
    np.testing.assert_allclose(covered[near], expected[near], atol=0.04)
    assert shown(page) > 1000, "the first visitor's scene is still there"
    other.close()
