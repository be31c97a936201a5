"""Captions of panels: long names stay readable and inside."""

import cv2
import numpy as np
import pytest

from common.drawing.panel import draw_columns, fit_caption

WIDTH = 224


def width(text, scale):
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]


@pytest.mark.parametrize("name", ["a.jpg", "IMG_20240501_123456.jpg  12.3", "a_very_long_name_of_a_video_frame" * 3])
def test_a_caption_fits(name):
    assert width(*fit_caption(name, WIDTH)) <= WIDTH


def test_a_name_is_whole_where_there_is_room_and_keeps_its_end_where_there_is_none():
    assert fit_caption("photo_12.jpg  9.1", WIDTH)[0] == "photo_12.jpg  9.1"
    short = fit_caption("walk_through_the_whole_house_and_garden_2024_frame_000123.jpg", WIDTH)[0]
    assert short.startswith("walk") and ".." in short and short.endswith("_000123.jpg")
    assert fit_caption("Küche.jpg", WIDTH)[0] == "K?che.jpg"
    assert fit_caption("name", 1)[0] == ""


def test_columns_do_not_write_over_each_other():
    tile = np.full((40, WIDTH, 3), 90, np.uint8)
    picture = draw_columns([("x" * 200, [tile]), ("", [tile])])
    assert picture[: 22 - 2, WIDTH + 12 :].min() == 255
