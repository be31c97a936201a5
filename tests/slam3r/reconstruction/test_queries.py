"""The frames of a round that ask for references."""

from __future__ import annotations

import pytest

from slam3r.reconstruction.retrieval import chosen_queries


@pytest.mark.parametrize(
    ("most", "chosen"), [(None, [10, 12, 14]), (1, [12]), (2, [11, 13]), (3, [10, 12, 14]), (9, [10, 11, 12, 13, 14])]
)
def test_queries_are_spread_over_the_round(most: int | None, chosen: list[int]) -> None:
    assert chosen_queries(range(10, 15), most) == chosen
