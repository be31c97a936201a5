"""A map of bounded size that grows with the stream: voxels in a hash table, points merged by confidence.

The table is set-associative, like a processor's cache: the hash of a voxel names a bucket of `WAYS` places, and the
voxel is in one of them or nowhere. So finding, merging, adding and evicting touch the new points' buckets only, for
all points at once; there is no rebuilding, no chain to follow, and a point's place (slot) never changes while it
lives. Whoever follows the map by its deltas just writes slots.

Eviction: a new voxel whose bucket is full takes the place of the one there that was seen longest ago (`oldest`), or
of the one with the least summed confidence if that is less than its own (`weakest`). Buckets fill unevenly: the first
evictions come at about two thirds of `max_points`, and at five sixths about one in twenty voxels has been evicted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slam3r.live.settings import WAYS, MapSettings
from slam3r.reconstruction.frames import RegisteredFrame

EMPTY = np.int64(-1)
_REACH = 1 << 20
"""Voxels from the origin along an axis that a key can name."""


@dataclass(frozen=True)
class MapDelta:
    """What one frame changed. Whoever holds the map by slots writes these, and clears the removed ones."""

    slots: NDArray[np.int64]
    """(K,) places that were written; a place that held another voxel now holds this one."""
    points: NDArray[np.float32]
    """(K, 3) world."""
    colors: NDArray[np.uint8]
    """(K, 3) RGB."""
    confidence: NDArray[np.float32]
    """(K,) summed over all points that were merged."""
    new: NDArray[np.bool_]
    """(K,) the voxel was not in the map before."""
    removed: NDArray[np.int64]
    """(R,) places that are empty now."""


@dataclass(frozen=True)
class _Share:
    """What a frame gave to voxels, one row each."""

    frame: int
    keys: NDArray[np.int64]
    slots: NDArray[np.int64]
    values: NDArray[np.float32]
    """(K, 6) position and colour, means."""
    weights: NDArray[np.float32]


class SceneMap:
    """Points of one world, at most `max_points`."""

    def __init__(self, settings: MapSettings | None = None) -> None:
        self.settings = settings or MapSettings()
        self._buckets = self.settings.max_points // WAYS
        size = self._buckets * WAYS
        # Filled, not reserved: what the map costs is taken at once, so that memory stays flat from here on.
        self._keys = np.full(size, EMPTY)
        self._values = np.full((size, 6), 0, np.float32)  # position, colour: weighted means
        self._weights = np.full(size, 0, np.float32)
        self._counts = np.full(size, 0, np.int32)  # frames that gave to the voxel
        self._seen = np.full(size, 0, np.int32)  # the last of them
        self._shares: deque[_Share] = deque(maxlen=self.settings.removable_frames)
        self.num_points = 0
        self.num_evicted = 0
        self.num_out_of_reach = 0
        """Points too far from the origin to have a voxel."""

    def add(self, frame: RegisteredFrame) -> MapDelta:
        """Take the confident points of a frame."""
        return self.add_points(*frame.confident_points(self.settings.confidence), frame.index)

    def add_points(self, points: NDArray, colors: NDArray, confidence: NDArray, frame: int) -> MapDelta:
        """Merge points (N, 3), colours (N, 3) uint8 and positive confidences (N,) into their voxels.

        Args:
            points: world.
            colors: RGB.
            confidence: the weights of the means.
            frame: that they come from; numbers must not decrease.
        """
        share = self._share(points, colors, confidence, frame)
        slots = self._find(share.keys)
        known = slots >= 0
        slots[~known] = self._make_room(share.keys[~known], share.weights[~known], slots[known])
        placed = slots >= 0
        share = _Share(frame, share.keys[placed], slots[placed], share.values[placed], share.weights[placed])
        new = ~known[placed]
        old = share.slots
        total = self._weights[old] + share.weights
        part = (share.weights / total)[:, None]
        self._values[old] += part * (share.values - self._values[old])
        self._weights[old] = total
        self._counts[old] += 1
        self._seen[old] = frame
        if self.settings.removable_frames:
            self._shares.append(share)
        return self._delta(old, new, np.empty(0, np.int64))

    def remove(self, frame: int) -> MapDelta:
        """Take out again what a frame gave, as far as it was not evicted since.

        Raises:
            KeyError: the frame gave nothing, was removed before, or is not among the last `removable_frames`.
        """
        share = next((share for share in self._shares if share.frame == frame), None)
        if share is None:
            raise KeyError(f"frame {frame} is not among the last {self.settings.removable_frames} that gave points")
        self._shares.remove(share)
        there = self._keys[share.slots] == share.keys
        slots, weights, values = share.slots[there], share.weights[there], share.values[there]
        rest = np.maximum(self._weights[slots] - weights, 0)
        self._counts[slots] -= 1
        emptied = (self._counts[slots] <= 0) | (rest <= 1e-6 * weights)
        left = ~emptied
        kept = slots[left]
        part = (weights[left] / rest[left])[:, None]
        self._values[kept] += part * (self._values[kept] - values[left])
        self._weights[kept] = rest[left]
        self._clear(slots[emptied])
        return self._delta(kept, np.zeros(len(kept), bool), slots[emptied])

    @property
    def slots(self) -> NDArray[np.int64]:
        """(P,) occupied places."""
        return np.flatnonzero(self._keys != EMPTY)

    @property
    def points(self) -> NDArray[np.float32]:
        """(P, 3) world, in the order of `slots`."""
        return self._values[self.slots, :3]

    @property
    def colors(self) -> NDArray[np.uint8]:
        """(P, 3) RGB, in the order of `slots`."""
        return _to_bytes(self._values[self.slots, 3:])

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(P,) summed confidence, in the order of `slots`."""
        return self._weights[self.slots]

    @property
    def observations(self) -> NDArray[np.int32]:
        """(P,) frames that gave to the voxel, in the order of `slots`."""
        return self._counts[self.slots]

    def arrays(self) -> dict[str, NDArray]:
        """Everything but the memory for `remove`, for a checkpoint."""
        slots = self.slots
        columns = {"keys": self._keys, "values": self._values, "weights": self._weights}
        columns |= {"counts": self._counts, "seen": self._seen}
        return {"slots": slots, **{name: column[slots] for name, column in columns.items()}}

    def load_arrays(self, arrays: dict[str, NDArray]) -> None:
        """Take over what `arrays` gave; for a map of the same settings, and empty."""
        slots = arrays["slots"]
        self._keys[slots], self._values[slots] = arrays["keys"], arrays["values"]
        self._weights[slots], self._counts[slots] = arrays["weights"], arrays["counts"]
        self._seen[slots] = arrays["seen"]
        self.num_points = len(slots)

    def _share(self, points: NDArray, colors: NDArray, confidence: NDArray, frame: int) -> _Share:
        """A frame's points, one weighted mean per voxel, in the order of keys."""
        cells = np.floor(np.asarray(points, np.float64) / self.settings.voxel_size)
        near: NDArray[np.bool_] = np.all(np.abs(cells) < _REACH, axis=1)
        self.num_out_of_reach += int(len(near) - near.sum())
        shifted = cells[near].astype(np.int64) + _REACH
        packed = (shifted[:, 0] << 42) | (shifted[:, 1] << 21) | shifted[:, 2]
        keys, voxel = np.unique(packed, return_inverse=True)
        weight = np.asarray(confidence, np.float64)[near]
        weights = np.bincount(voxel, weight, len(keys))
        columns = np.concatenate([np.asarray(points)[near], np.asarray(colors)[near]], axis=1, dtype=np.float64)
        sums = np.stack([np.bincount(voxel, weight * column, len(keys)) for column in columns.T], axis=1)
        means = (sums / weights[:, None]).astype(np.float32)
        return _Share(frame, keys, np.empty(0, np.int64), means, weights.astype(np.float32))

    def _bucket(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bucket of every key, by the mixing step of SplitMix64 (Steele et al., OOPSLA 2014)."""
        mixed = keys.astype(np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((mixed ^ (mixed >> np.uint64(31))) % np.uint64(self._buckets)).astype(np.int64)

    def _places(self, buckets: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, WAYS) slots of buckets."""
        return buckets[:, None] * WAYS + np.arange(WAYS)

    def _find(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Slots of keys, -1 where they are not in the map."""
        places = self._places(self._bucket(keys))
        hit = self._keys[places] == keys[:, None]
        return np.where(hit.any(axis=1), places[np.arange(len(keys)), hit.argmax(axis=1)], -1)

    def _make_room(
        self, keys: NDArray[np.int64], weights: NDArray[np.float32], merging: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Cleared slots for new keys, which then own them; -1 where the bucket has nothing that may go.

        Args:
            keys: (K,) different from each other and not in the map.
            weights: (K,).
            merging: slots of this frame's other voxels, which stay.
        """
        # In each bucket the strongest of the new ones chooses first: rank them within their buckets.
        buckets = self._bucket(keys)
        order = np.lexsort((-weights, buckets))
        sorted_buckets, start = buckets[order], np.ones(len(order), bool)
        start[1:] = sorted_buckets[1:] != sorted_buckets[:-1]
        first = np.flatnonzero(start)
        rank = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
        # The places of each bucket, the ones to take first in front: empty, then by the eviction rule.
        places = self._places(sorted_buckets[start])
        oldest = self.settings.eviction == "oldest"
        priority = (self._seen if oldest else self._weights)[places].astype(np.float64)
        priority[self._keys[places] == EMPTY] = -np.inf
        priority[np.isin(places, merging)] = np.inf
        ways = np.argsort(priority, axis=1, kind="stable")
        row, column = np.cumsum(start) - 1, np.minimum(rank, WAYS - 1)
        way = ways[row, column]
        least = priority[row, way]
        wins = (rank < WAYS) & (least < np.inf) if oldest else (rank < WAYS) & (least < weights[order])
        slots = np.where(wins, places[row, way], -1)
        taken = slots[wins]
        self.num_evicted += int((self._keys[taken] != EMPTY).sum())
        self._clear(taken)
        self._keys[taken] = keys[order][wins]
        self.num_points += len(taken)
        result = np.empty(len(keys), np.int64)
        result[order] = slots
        return result

    def _clear(self, slots: NDArray[np.int64]) -> None:
        self.num_points -= int((self._keys[slots] != EMPTY).sum())
        self._keys[slots] = EMPTY
        self._values[slots], self._weights[slots], self._counts[slots], self._seen[slots] = 0, 0, 0, 0

    def _delta(self, slots: NDArray[np.int64], new: NDArray[np.bool_], removed: NDArray[np.int64]) -> MapDelta:
        values = self._values[slots]
        return MapDelta(slots, values[:, :3], _to_bytes(values[:, 3:]), self._weights[slots], new, removed)


def _to_bytes(colors: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(colors), 0, 255).astype(np.uint8)
