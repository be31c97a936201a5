"""A map of bounded size that grows with the stream: voxels in a hash table, points merged by confidence.

The table is set-associative, like a CPU cache: the hash of a voxel selects a bucket of `WAYS` slots, and the voxel is
in one of them or absent. Finding, merging, adding and evicting are therefore vectorized over points and touch only
their buckets, without rehashing or chains, and a voxel's slot never changes while it exists. A viewer that follows the
map by its deltas just writes slots.

Eviction: a new voxel whose bucket is full replaces the one there that was seen longest ago (`oldest`), or the one with
the lowest summed confidence if that is lower than its own (`weakest`). Buckets fill unevenly: the first
evictions come at about two thirds of `max_points`, and at five sixths about one in twenty voxels has been evicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slam3r.live.settings import WAYS, MapSettings
from slam3r.reconstruction.frames import RegisteredFrame

EMPTY = np.int64(-1)
_REACH = 1 << 20
"""Largest distance from the origin along an axis that a key can represent, voxels."""


@dataclass(frozen=True)
class MapDelta:
    """Changes by one frame. A copy of the map that writes these slots stays equal to it."""

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


class SceneMap:
    """Map of one world with at most `max_points` points."""

    def __init__(self, settings: MapSettings | None = None) -> None:
        self.settings = settings or MapSettings()
        self._buckets = self.settings.max_points // WAYS
        size = self._buckets * WAYS
        # Filled, not only reserved, so that the memory of the map is constant from here on.
        self._keys = np.full(size, EMPTY)
        self._values = np.full((size, 6), 0, np.float32)  # position, colour: weighted means
        self._weights = np.full(size, 0, np.float32)
        self._seen = np.full(size, 0, np.int32)  # last frame that contributed to the voxel
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
            frame: number of the frame that they come from; must not decrease.
        """
        keys, values, weights = self._voxel_means(points, colors, confidence)
        slots = self._find(keys)
        known = slots >= 0
        slots[~known] = self._make_room(keys[~known], weights[~known], slots[known])
        placed = slots >= 0
        slots, values, weights = slots[placed], values[placed], weights[placed]
        total = self._weights[slots] + weights
        part = (weights / total)[:, None]
        self._values[slots] += part * (values - self._values[slots])
        self._weights[slots] = total
        self._seen[slots] = frame
        merged = self._values[slots]
        return MapDelta(slots, merged[:, :3], _to_bytes(merged[:, 3:]), total, ~known[placed])

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

    def state_dict(self) -> dict[str, Any]:
        """The occupied places as tensors, and the counts."""
        slots = self.slots
        columns = {"keys": self._keys, "values": self._values, "weights": self._weights, "seen": self._seen}
        return {
            "slots": torch.from_numpy(slots),
            **{name: torch.from_numpy(column[slots]) for name, column in columns.items()},
            "num_evicted": self.num_evicted,
            "num_out_of_reach": self.num_out_of_reach,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; for a map of the same settings, and empty."""
        slots = state["slots"].numpy()
        self._keys[slots], self._values[slots] = state["keys"].numpy(), state["values"].numpy()
        self._weights[slots], self._seen[slots] = state["weights"].numpy(), state["seen"].numpy()
        self.num_points = len(slots)
        self.num_evicted, self.num_out_of_reach = state["num_evicted"], state["num_out_of_reach"]

    def _voxel_means(
        self, points: NDArray, colors: NDArray, confidence: NDArray
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Voxels of a frame's points: keys (K,) in order, mean position and colour (K, 6), and weights (K,)."""
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
        return keys, means, weights.astype(np.float32)

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
        """Cleared slots for new keys, which then own them; -1 where nothing in the bucket may be evicted.

        Args:
            keys: (K,) different from each other and not in the map.
            weights: (K,).
            merging: slots of this frame's other voxels, which stay.
        """
        # Rank new voxels within their buckets, since the most confident ones choose first.
        buckets = self._bucket(keys)
        order = np.lexsort((-weights, buckets))
        sorted_buckets, start = buckets[order], np.ones(len(order), bool)
        start[1:] = sorted_buckets[1:] != sorted_buckets[:-1]
        first = np.flatnonzero(start)
        rank = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
        # Slots of each bucket in the order of use: empty ones, then by the eviction rule.
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
        self._values[slots], self._weights[slots], self._seen[slots] = 0, 0, 0


def _to_bytes(colors: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(colors), 0, 255).astype(np.uint8)
