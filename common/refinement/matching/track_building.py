"""Tracks: features of many pictures that verified matches join, and the share of them that is held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from common.refinement.matching.pair_matching import PairMatches


@dataclass(frozen=True)
class FeatureTracks:
    """The track of every feature of every picture."""

    start: NDArray[np.int64]
    """(N + 1,) number of the first feature of each picture, when those of all pictures are counted through."""
    track: NDArray[np.int64]
    """(sum of K,) number of each feature's track; features without a match are alone in theirs."""
    held_back: NDArray[np.bool_]
    """(tracks,) True for tracks that nothing may be fitted to."""

    def of(self, frame: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tracks of features `rows` of a picture."""
        return self.track[self.start[frame] + rows]


def build_tracks(
    counts: Sequence[int], matches: Sequence[PairMatches], held_back: float, rng: np.random.Generator
) -> FeatureTracks:
    """Join features by matches.

    Args:
        counts: features of each of N pictures.
        matches: verified pairs.
        held_back: share of the tracks to hold back. Whole tracks are, since a match would leak through others of its
            track.
        rng: chooses them.
    """
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    number, track = _join(start, matches)
    return FeatureTracks(start, track, rng.random(number) < held_back)


def _join(start: NDArray[np.int64], matches: Sequence[PairMatches]) -> tuple[int, NDArray[np.int64]]:
    """Number of tracks, and (sum of K,) the one of each feature."""
    total = int(start[-1])
    if not total:
        return 0, np.zeros(0, np.int64)
    first = np.concatenate([start[pair.first] + pair.rows[:, 0] for pair in matches] or [np.zeros(0, np.int64)])
    second = np.concatenate([start[pair.second] + pair.rows[:, 1] for pair in matches] or [np.zeros(0, np.int64)])
    graph = coo_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(total, total))
    number, track = connected_components(graph, directed=False)
    return int(number), track.astype(np.int64)


def split_matches(matches: Sequence[PairMatches], tracks: FeatureTracks) -> tuple[list[PairMatches], list[PairMatches]]:
    """The pairs with the matches that may be fitted, and the pairs with those that are held back."""
    fitted, held = [], []
    for pair in matches:
        hidden = tracks.held_back[tracks.of(pair.first, pair.rows[:, 0])]
        fitted.append(replace(pair, rows=pair.rows[~hidden]))
        held.append(replace(pair, rows=pair.rows[hidden], fundamental=None))
    return [pair for pair in fitted if len(pair.rows)], [pair for pair in held if len(pair.rows)]


@dataclass(frozen=True)
class Observations:
    """Clean tracks as flat arrays, sorted by track."""

    frame: NDArray[np.int64]
    """(O,)"""
    row: NDArray[np.int64]
    """(O,) feature of the frame."""
    track: NDArray[np.int64]
    """(O,) 0 ... T - 1."""

    @property
    def count(self) -> int:
        """T, the number of tracks."""
        return int(self.track[-1]) + 1 if len(self.track) else 0


def clean_observations(
    tracks: FeatureTracks, matches: Sequence[PairMatches], frames: NDArray[np.bool_], per_frame: int
) -> Observations:
    """Observations of tracks that meet each frame at most once, in the given frames.

    The tracks are joined anew by the given matches: a pair that was found to be wrong, such as two walls with one
    wallpaper, has joined tracks of different places, and such tracks are among the longest.

    Args:
        tracks: for the numbers of the features.
        matches: pairs whose matches may be used.
        frames: (N,) bool, frames to use.
        per_frame: the longest tracks are taken until each frame has about so many; longer ones tie more together.
    """
    used = [pair for pair in matches if frames[pair.first] and frames[pair.second]]
    if not used:
        empty = np.zeros(0, dtype=np.int64)
        return Observations(empty, empty, empty)
    features = np.unique(
        np.concatenate(
            [tracks.start[pair.first] + pair.rows[:, 0] for pair in used]
            + [tracks.start[pair.second] + pair.rows[:, 1] for pair in used]
        )
    )
    frame = np.searchsorted(tracks.start, features, side="right") - 1
    label = _join(tracks.start, used)[1][features]
    key = label * len(frames) + frame
    _, position, times = np.unique(key, return_index=True, return_counts=True)
    position = position[times == 1]  # a track that meets a frame twice is wrong there
    frame, label, features = frame[position], label[position], features[position]
    _, inverse, length = np.unique(label, return_inverse=True, return_counts=True)
    chosen = _cover(frame, inverse, length, len(frames), per_frame)
    keep = chosen[inverse]
    order = np.argsort(inverse[keep], kind="stable")
    number = np.cumsum(chosen) - 1
    frame, row = frame[keep][order], (features - tracks.start[frame])[keep][order]
    return Observations(frame, row, number[inverse[keep][order]])


def _cover(
    frame: NDArray[np.int64], track: NDArray[np.int64], length: NDArray[np.int64], count: int, per_frame: int
) -> NDArray[np.bool_]:
    """(T,) bool: the longest tracks, until every frame has `per_frame` or no more are left."""
    order = np.lexsort((track, -length[track]))
    rank = np.empty(len(frame), dtype=np.int64)
    by_frame = order[np.argsort(frame[order], kind="stable")]
    starts = np.searchsorted(frame[by_frame], np.arange(count))
    rank[by_frame] = np.arange(len(frame)) - starts[frame[by_frame]]
    chosen = np.zeros(len(length), dtype=bool)
    chosen[track[rank < per_frame]] = True
    return chosen & (length >= 2)
