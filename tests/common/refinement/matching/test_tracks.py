"""Tracks, and the share of them that is held back."""

import numpy as np

from common.refinement.matching.pair_matching import PairMatches
from common.refinement.matching.track_building import build_tracks, clean_observations, split_matches

NONE = np.zeros((0, 2), dtype=np.int64)


def chain(frames: int, features: int) -> list[PairMatches]:
    """Feature i of every frame is feature i of the next one and of the one after."""
    rows = np.stack([np.arange(features)] * 2, axis=1)
    return [PairMatches(first, first + step, rows, None, NONE) for step in (1, 2) for first in range(frames - step)]


def test_matches_join_to_tracks():
    tracks = build_tracks([10] * 5, chain(5, 10), 0.0, np.random.default_rng(0))

    observations = clean_observations(tracks, chain(5, 10), np.ones(5, dtype=bool), 100)

    assert observations.count == 10 and len(observations.frame) == 50
    assert np.array_equal(observations.frame.reshape(10, 5), np.tile(np.arange(5), (10, 1)))
    assert (observations.row.reshape(10, 5) == observations.row.reshape(10, 5)[:, :1]).all()


def test_a_held_back_track_leaks_through_no_match():
    matches = chain(5, 200)
    tracks = build_tracks([200] * 5, matches, 0.2, np.random.default_rng(0))

    fitted, held = split_matches(matches, tracks)

    fitted_rows, held_rows = ({int(row) for pair in pairs for row in pair.rows[:, 0]} for pairs in (fitted, held))
    assert not fitted_rows & held_rows and len(fitted_rows | held_rows) == 200
    assert 20 < len(held_rows) < 60


def test_a_track_that_meets_a_frame_twice_is_not_used_there():
    matches = chain(3, 4)
    matches.append(PairMatches(0, 2, np.array([[0, 1]]), None, NONE))  # joins tracks 0 and 1

    observations = clean_observations(
        build_tracks([4] * 3, matches, 0.0, np.random.default_rng(0)), matches, np.ones(3, dtype=bool), 10
    )

    assert observations.count == 2 and set(observations.row) == {2, 3}


def test_a_pair_that_was_found_to_be_wrong_joins_nothing():
    """Two walls with one wallpaper: frame 0 looked like frame 4, until the rotations said that it is another wall."""
    right = chain(3, 6) + [PairMatches(3, 4, np.array([[0, 0], [1, 1]]), None, NONE)]
    wrong = PairMatches(0, 4, np.array([[0, 0], [1, 1]]), None, NONE)
    tracks = build_tracks([6] * 5, [*right, wrong], 0.0, np.random.default_rng(0))

    observations = clean_observations(tracks, right, np.ones(5, dtype=bool), 10)

    seen = [set(observations.frame[observations.track == track]) for track in range(observations.count)]
    assert sorted(seen, key=min) == [{0, 1, 2}] * 6 + [{3, 4}] * 2


def test_frames_that_are_left_out_are_not_observed():
    matches = chain(4, 5)
    use = np.array([True, True, False, True])

    observations = clean_observations(build_tracks([5] * 4, matches, 0.0, np.random.default_rng(0)), matches, use, 10)

    assert set(observations.frame) == {0, 1, 3}


def test_the_longest_tracks_are_taken_first():
    matches = [
        PairMatches(first, first + 1, np.stack([np.arange(10 - first)] * 2, axis=1), None, NONE) for first in range(4)
    ]

    observations = clean_observations(
        build_tracks([10] * 5, matches, 0.0, np.random.default_rng(0)), matches, np.ones(5, dtype=bool), 3
    )

    assert len(observations.frame) == 3 * 5
    assert (
        clean_observations(build_tracks([3], [], 0.1, np.random.default_rng(0)), [], np.ones(1, dtype=bool), 3).count
        == 0
    )
