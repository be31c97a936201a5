"""Visitors give input to the application, wait, and stop it: in a headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")
pytest.importorskip("gradio", reason="comes with the extra app")

from playwright.sync_api import expect

from common.drawing.video import video_writer
from tests.support.app_browser import Echo, choose, chromium, serving, start, visit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving([Echo()], tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A visitor who has just come."""
    found = visit(browser, address)
    yield found
    found.context.close()


def pictures(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    files = [folder / f"photo{number}.png" for number in range(count)]
    for number, file in enumerate(files):
        cv2.imwrite(str(file), np.full((48, 64, 3), 20 * number, np.uint8))
    return files


def give(page: Any, kind: str, files: Any, name: str) -> None:
    """Upload, and wait until the page names what has arrived."""
    page.get_by_role("radio", name=kind).click()
    page.locator("input[type=file]").first.set_input_files(files)
    page.get_by_text(name).first.wait_for()


def test_a_folder_is_read_in_order(page: Any, tmp_path: Path) -> None:
    pictures(tmp_path / "photos", 12)
    give(page, "A folder", tmp_path / "photos", "photo11")
    start(page)
    page.get_by_text("1,200 points from 12 posed frames").wait_for()
    page.get_by_role("tab", name="Figures").click()
    expect(page.locator("table.figures")).to_contain_text("photo0.png")


def test_a_video_is_taken_at_the_chosen_rate(page: Any, tmp_path: Path) -> None:
    with video_writer(tmp_path / "walk.mp4", (48, 64), fps=10) as write:
        for number in range(20):
            write(np.full((48, 64, 3), 10 * number, np.uint8))
    give(page, "Pictures or a video", str(tmp_path / "walk.mp4"), "walk")
    page.get_by_label("number input for Frames per second").fill("5")
    page.get_by_label("number input for Frames per second").press("Tab")
    start(page)
    page.get_by_text("1,000 points from 10 posed frames").wait_for()  # two seconds


def test_an_unreadable_file_is_a_sentence(page: Any, tmp_path: Path) -> None:
    files = [tmp_path / f"broken{number}.jpg" for number in range(3)]
    for file in files:
        file.write_bytes(b"this is no picture")
    give(page, "Pictures or a video", [str(file) for file in files], "broken2")
    start(page)
    alert = page.locator("#status p.alert")
    alert.wait_for()
    sentence = alert.inner_text()
    assert "broken0.jpg" in sentence and "/" not in sentence, sentence
    assert "Traceback" not in page.content()


def test_a_run_can_be_cancelled_and_another_begun(page: Any) -> None:
    choose(page, "Model", "endless")
    start(page)
    page.get_by_label("Progress").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    choose(page, "Model", "prompt")
    start(page)
    page.get_by_text("3,000 points from 30 posed frames").wait_for()


def test_two_visitors_take_turns_and_have_their_own_results(browser: Any, address: str, page: Any) -> None:
    other = visit(browser, address)
    choose(page, "Model", "endless")
    start(page)
    page.get_by_label("Progress").wait_for()
    start(other)
    other.get_by_text("Waiting for a free place").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    other.get_by_text("3,000 points from 30 posed frames").wait_for()
    expect(page.locator("#status")).to_have_text("Cancelled.")
    tokens = [one.locator("iframe.viewer").get_attribute("src") for one in (page, other)]
    assert tokens[0] != tokens[1]
    other.context.close()


def test_a_visitor_who_waits_can_give_up(browser: Any, address: str, page: Any) -> None:
    other = visit(browser, address)
    choose(page, "Model", "endless")
    start(page)
    page.get_by_label("Progress").wait_for()
    start(other)
    other.get_by_text("Waiting for a free place").wait_for()
    other.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel").click()
    for visitor in (page, other):
        visitor.get_by_text("Cancelled.").wait_for()
    other.context.close()
