"""The application as a visitor has it: in a headless Chromium, with the weights that ship and the sample room.

Screenshots stay in ``results/app_screenshots``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")
pytest.importorskip("gradio", reason="comes with the extra app")

from playwright.sync_api import expect

from common.app.contract import Before, Cloud, Outcome, PosedFrame, Splats, Watcher
from common.app.levels import levels_by_share, levels_by_views
from common.export.ply import read_ply
from slam3r.app import Slam3rSystem
from tests.support.app_browser import SCREENSHOTS, choose, chromium, pixels, serving, shown, start, viewer, visit
from uni3r.app import Uni3RSystem

pytestmark = pytest.mark.slow
SIGMA, OPACITY = 0.2, 0.9
DONE = "[data-final=true]"


class OneGaussian:
    """A round Gaussian of deviation `SIGMA` in the middle of a box of side 2, whose corners are all but transparent."""

    name, models, options = "One Gaussian", ("only",), ()

    def run(self, source: Any, model: str, values: Any, watcher: Watcher) -> Outcome:
        corners = np.repeat([[-1.0, -1, -1], [1, 1, 1]], 50, axis=0)
        points = np.concatenate([[[0.0, 0, 0]], corners]).astype(np.float32)
        opacities = np.array([OPACITY] + [1e-4] * 100, np.float32)
        cloud = Cloud(points, np.zeros((101, 3), np.uint8), np.full(101, 2, np.float32))
        turns = np.tile(np.float32([0.5, 0.5, -0.5, 0.5]), (101, 1))
        levels = levels_by_share(cloud.confidence, 1.0, "Gaussians")
        return Outcome(cloud, [], levels, splats=Splats(np.full((101, 3), SIGMA, np.float32), turns, opacities))


class Refined:
    """A red scene of points that 1 or 3 views see, which was blue before it was refined."""

    name, models, options = "Refined", ("only",), ()

    def run(self, source: Any, model: str, values: Any, watcher: Watcher) -> Outcome:
        points = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32)
        views = np.repeat(np.float32([1, 3]), 2000)
        cloud = Cloud(points, np.tile(np.uint8([220, 30, 30]), (4000, 1)), views)
        before = Before(
            Cloud(points[:1000], np.tile(np.uint8([30, 30, 220]), (1000, 1)), views[:1000]), np.eye(4)[None]
        )
        frame = PosedFrame("a", 0.0, np.eye(4), np.eye(3), (8, 8))
        verdict = "pictures and cameras do NOT agree, do not trust this"
        return Outcome(cloud, [frame], levels_by_views(views), verdict, agrees=False, before=before)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running application."""
    with serving([Slam3rSystem(models=("slam3r_tiny",)), Uni3RSystem()], tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """The page after the sample room was reconstructed, without the search for a stride and without refinement."""
    with chromium() as browser:
        page = visit(browser, address)
        page.get_by_label("number input for Keyframe stride").fill("2")
        choose(page, "Refinement", "off")
        start(page)
        page.get_by_label("Progress").wait_for()
        page.get_by_text("posed frames").wait_for()
        viewer(page).locator(f"canvas{DONE}").wait_for()
        yield page


def set_share(page: Any, value: str) -> None:
    page.get_by_label("number input for Share of points").fill(value)
    page.get_by_label("number input for Share of points").press("Tab")


def test_the_view_shows_a_scene(page: Any) -> None:
    image = pixels(page, "points", DONE)
    page.get_by_role("img", name="frame_00.jpg: picture, depth, confidence").wait_for()
    drawn = (np.abs(image.astype(int) - (243, 240, 238)).max(axis=-1) > 20).mean()
    assert drawn > 0.05, f"{drawn:.1%} of the view is drawn"
    assert image.reshape(-1, 3).std(axis=0).min() > 5


def test_the_share_changes_the_view_and_asks_the_server_nothing(page: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    before = shown(page)
    assert before > 1000
    set_share(page, "20")
    expect(viewer(page).locator("#count")).not_to_have_attribute("data-shown", str(before))
    assert shown(page) < before
    before_image = pixels(page, "confident", '[data-level="20"]')
    choose(page, "Colour by", "Height")
    assert (pixels(page, "height", '[data-mode="2"]') != before_image).mean() > 0.01
    loaded = [url for url in asked if "/scene/" in url and not url.endswith("ended")]
    assert not loaded, "the view follows without loading the scene again"


def test_the_downloaded_points_are_the_chosen_share(page: Any, tmp_path: Path) -> None:
    set_share(page, "30")
    page.get_by_role("tab", name="Downloads").click()
    page.get_by_role("button", name="Prepare the files").click()
    page.get_by_text("The files hold").wait_for()
    with page.expect_download() as waiting:
        page.locator("a[download='points.ply']").first.click()
    waiting.value.save_as(tmp_path / "points.ply")
    cloud = read_ply(tmp_path / "points.ply")
    assert len(cloud.points) == pytest.approx(0.3 * 30 * 224 * 224, rel=0.05)


def test_a_mesh_is_made_when_it_is_to_be_shown(page: Any) -> None:
    page.get_by_role("radio", name="Mesh").click()
    page.get_by_text("The mesh has").wait_for()
    expect(viewer(page).locator("#count")).to_contain_text("triangles")
    pixels(page, "mesh", '[data-show="Mesh"]')
    page.get_by_role("radio", name="Points").click()
    expect(viewer(page).locator("#count")).to_contain_text("points")


def test_it_can_be_used_on_a_phone(page: Any) -> None:
    canvas = viewer(page).locator("canvas")
    wide = canvas.get_attribute("data-width")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(canvas).not_to_have_attribute("data-width", wide)  # it was drawn again
    page.wait_for_function("document.documentElement.scrollWidth <= 392")  # nothing sticks out to the side
    pixels(page, "phone", DONE)
    page.set_viewport_size({"width": 1280, "height": 720})


def test_every_control_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea")].filter((e) => e.offsetParent &&
        !(e.ariaLabel || e.title || e.innerText?.trim() || e.labels?.length || e.placeholder))
        .map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_a_gaussian_is_as_large_and_as_dense_as_it_should_be(page: Any, tmp_path: Path) -> None:
    with serving([OneGaussian()], tmp_path) as address:
        other = visit(page.context.browser, address)
        start(other)
        other.get_by_text("101 Gaussians from").wait_for()
        expect(viewer(other).locator("#count")).to_have_text("101 Gaussians")
        image = pixels(other, "gaussian", f'{DONE}[data-show="Gaussians"]')[..., 1].astype(float)
        other.context.close()
    height, width = image.shape
    covered = 1 - image / 240  # of the background
    # The viewer stands 0.95 diagonals away and sees 45 degrees: the projection is a Gaussian of this deviation.
    sigma = SIGMA * height / 2 / np.tan(np.radians(22.5)) / (0.95 * 2 * np.sqrt(3))
    row, column = np.mgrid[:height, :width]
    distance = np.hypot(row - (height - 1) / 2, column - (width - 1) / 2)
    near = (distance < 2.5 * sigma) & (row > 60) & (row < height - 60)  # not where words are written
    expected = OPACITY * np.exp(-0.5 * (distance / sigma) ** 2)
    np.testing.assert_allclose(covered[near], expected[near], atol=0.04)


def test_a_run_as_the_model_asks_tells_stage_and_remaining_time_and_comes_out_refined(page: Any, address: str) -> None:
    other = visit(page.context.browser, address)
    other.get_by_label("number input for Keyframe stride").fill("2")
    start(other)
    expect(other.locator("#status")).to_contain_text("Refine: ")
    expect(other.locator("#status")).to_contain_text(" left")
    expect(other.locator("#status")).to_contain_text("Pictures and cameras agree")
    viewer(other).locator(f"canvas{DONE}").wait_for()
    after = pixels(other, "refined", f'{DONE}[data-state="After"]')
    other.get_by_role("img", name="frame_00.jpg: picture, depth, views that agree").wait_for()
    other.evaluate("scrollTo(0, 0)")
    other.screenshot(path=SCREENSHOTS / "page.png")
    choose(other, "Refinement", "Before")
    assert (pixels(other, "unrefined", '[data-state="Before"]') != after).mean() > 0.02
    other.context.close()


def test_before_and_after_refinement_are_a_press_apart(page: Any, tmp_path: Path) -> None:
    with serving([Refined()], tmp_path) as address:
        other = visit(page.context.browser, address, "dark")
        expect(other.locator("#status")).to_contain_text("sample room is chosen")
        expect(other.get_by_role("radio", name="Before")).to_be_hidden()
        start(other)
        expect(other.get_by_role("alert")).to_contain_text("do NOT agree")
        expect(viewer(other).locator("#count")).to_have_text("2,000 points")
        red = pixels(other, "after", f'{DONE}[data-state="After"][data-dark=true]')
        assert np.median(red, axis=(0, 1)).max() < 40, "the view is dark where the page is"
        choose(other, "Refinement", "Before")
        expect(viewer(other).locator("#count")).to_have_text("1,000 points, before refinement")
        blue = pixels(other, "before", '[data-state="Before"]')
        redder = [(image[..., 2].astype(int) - image[..., 0] > 60).sum() for image in (red, blue)]
        assert redder[0] > 1000 and redder[1] == 0, "the camera alone is blue as well"
        choose(other, "Refinement", "After")
        other.get_by_label("number input for Seen by").fill("1")
        other.get_by_label("number input for Seen by").press("Tab")
        expect(viewer(other).locator("#count")).to_have_text("4,000 points")
        other.context.close()
