"""Uni3R in the application, with the weights that ship: Gaussians, legend, words, film; in a headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")
pytest.importorskip("gradio", reason="comes with the extra app")
pytest.importorskip("wordllama", reason="comes with the extra text")

from playwright.sync_api import expect

from tests.support.app_browser import chromium, pixels, serving, start, viewer, visit
from uni3r.app import Uni3RSystem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page after the sample room was made into Gaussians, without the refinement, which takes longest."""
    systems = [Uni3RSystem(models=("uni3r_tiny",), film_frames=6)]
    with serving(systems, tmp_path_factory.mktemp("server")) as address, chromium() as browser:
        found = visit(browser, address)
        found.get_by_text("More parameters").click()
        found.get_by_label("Refine poses").uncheck()
        start(found)
        found.get_by_text("Gaussians from 4 posed frames").wait_for()
        yield found


def test_gaussians_and_their_legend_are_shown(page: Any) -> None:
    image = pixels(page, "uni3r", '[data-final=true][data-show="Gaussians"]')
    assert image.reshape(-1, 3).std(axis=0).min() > 5
    expect(viewer(page).locator("#count")).to_contain_text("Gaussians")
    page.get_by_role("img", name="segmentation").first.wait_for()
    for label in ("wall", "floor", "sofa"):
        expect(page.locator("#legend")).to_contain_text(label)


def test_words_get_heat_maps(page: Any) -> None:
    page.get_by_role("tab", name="Words and film").click()
    page.get_by_label("Find words in the scene").fill("couch, floor")
    page.get_by_role("button", name="Find").click()
    page.get_by_text("Bright is where").wait_for()
    for word in ("couch", "floor"):
        page.get_by_role("img", name=f"{word} in frame_11.jpg").first.wait_for()


def test_new_views_are_filmed_and_play(page: Any) -> None:
    page.get_by_role("tab", name="Words and film").click()
    page.get_by_role("button", name="Film new views").click()
    page.get_by_text("The film is ready").wait_for()
    page.wait_for_function("document.querySelector('video')?.duration > 0.1")
