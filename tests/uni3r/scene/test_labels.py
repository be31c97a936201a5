"""Segmentations, heat maps and legends as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from common.drawing.colors import color_heat
from uni3r.scene.labels import beside, color_labels, draw_legend, overlay
from uni3r.semantics.labels import distinct_colors, label_set_of_words


def test_labels_take_their_colours_and_the_unlabelled_none() -> None:
    colors = np.array([[10, 20, 30], [200, 0, 0]], np.uint8)
    picture = color_labels(np.array([[0, 1], [255, -1]]), colors)
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[10, 20, 30], [200, 0, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_heat_brightens_and_forgives_nonsense() -> None:
    low, half, high, none = color_heat(np.array([[-1.0, 0.5, 1.5, np.nan]]))[0].astype(int).sum(axis=-1)
    assert low == none < half < high


def test_overlay_mixes_by_strength() -> None:
    image, red = np.zeros((1, 2, 3), np.uint8), np.tile(np.array([200, 0, 0], np.uint8), (1, 2, 1))
    assert overlay(image, red, 0.5)[0, 0].tolist() == [100, 0, 0]
    assert overlay(image, red, np.array([[0.0, 1.0]]))[0].tolist() == [[0, 0, 0], [200, 0, 0]]


def test_legend_shows_every_colour_beside_its_name() -> None:
    labels = label_set_of_words(["chair", "a rather long name", "café"])
    legend = draw_legend(labels.names, labels.colors, row_height=20)
    assert legend.shape[0] == 60
    for row, color in enumerate(labels.colors):
        assert (legend[row * 20 + 10, 10] == color).all()
        assert (legend[row * 20 : row * 20 + 20, 20:].min(axis=-1) < 128).any()  # something is written
    joined = beside(np.zeros((80, 30, 3), np.uint8), legend)
    assert joined.shape == (80, 30 + legend.shape[1], 3) and (joined[70, 40] == 255).all()
    with pytest.raises(ValueError, match="as many colours"):
        draw_legend(["bed"], labels.colors)


def test_colours_of_a_query_do_not_change_when_words_are_added() -> None:
    assert distinct_colors(3) == distinct_colors(20)[:3]
    assert len(set(distinct_colors(40))) == 40
