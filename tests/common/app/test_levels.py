"""The control that chooses points: a share of them, or how many views see each."""

from __future__ import annotations

import numpy as np
import pytest

from common.app.levels import levels_by_share, levels_by_views


@pytest.mark.parametrize("share", [1, 30, 50, 99, 100])
def test_a_share_takes_the_most_confident_points(share: int) -> None:
    confidence = np.random.default_rng(0).permutation(np.arange(1000, dtype=np.float32))
    chosen = levels_by_share(confidence).chosen(confidence, share)
    assert chosen.sum() == 10 * share and confidence[chosen].min() == 1000 - 10 * share


def test_points_of_one_confidence_are_taken_together() -> None:
    confidence = np.ones(100, np.float32)
    levels = levels_by_share(confidence, 0.3)
    assert levels.default == 30 and levels.chosen(confidence, levels.default).all()


def test_no_points_have_levels_too() -> None:
    assert levels_by_share([]).threshold(50) <= 0 and levels_by_views([]).default == 1


def test_views_that_confirm_are_asked_for_at_the_beginning() -> None:
    views = np.array([1, 1, 3, 3, 5, 8], np.float32)
    levels = levels_by_views(views)
    assert levels.default == 3 and levels.last == 8 and "67%" in levels.help
    assert levels.chosen(views, 3).sum() == 4 and levels.chosen(views, 5).sum() == 2 and levels.chosen(views, 1).all()
    assert levels.threshold(99) == levels.threshold(8), "steps beyond the end count as the last"


def test_where_nothing_is_confirmed_everything_is_shown() -> None:
    views = np.ones(10, np.float32)
    assert levels_by_views(views).chosen(views, 1).all()
