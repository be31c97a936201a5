"""Sinks of registered frames. Each sink decides what to keep; the reconstructor keeps nothing for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slam3r.reconstruction.frames import RegisteredFrame, Status, has_pointmap


class Sink(Protocol):
    """Receives the frames of one scene in order, then is closed once, even if the run was interrupted."""

    def add(self, frame: RegisteredFrame) -> None:
        """Take a frame; its tensors may be kept, not changed."""

    def close(self) -> None:
        """There are no more frames."""


class PointStore:
    """The confident points of all frames, or a uniform random choice of them, bounded in memory.

    Every point gets a random key, and the points with the smallest keys are kept. This is exact sampling without
    replacement over the whole stream; the choice depends on the seed and the stream of confident points, not on how
    they are split into frames.
    """

    def __init__(self, threshold: float, max_points: int = 2_000_000, seed: int = 42) -> None:
        """
        Args:
            threshold: points of strictly higher confidence are kept.
            max_points: bound; 0 keeps all.
            seed: seed of the random choice.
        """
        if max_points < 0:
            raise ValueError(f"max_points must not be negative, got {max_points}")
        self.threshold, self.max_points = threshold, max_points
        self.num_seen = 0
        """Confident points so far, of which at most `max_points` are held."""
        self.highest_confidence = -np.inf
        """Highest confidence of all points, confident or not."""
        self._random = np.random.default_rng(seed)
        self._limit = np.inf
        """Points with a key of at least this are dropped."""
        self._parts: list[_Points] = []
        self._held = 0

    def add(self, frame: RegisteredFrame) -> None:
        """Take the confident points of a frame."""
        if not frame.has_pointmap:
            return
        self.highest_confidence = max(self.highest_confidence, float(frame.world_confidence.max()))
        self.add_points(*frame.confident_points(self.threshold))

    def add_points(self, points: NDArray, colors: NDArray, confidence: NDArray) -> None:
        """Take points (N, 3), colours (N, 3) uint8 and confidences (N,), all of which count as confident."""
        keys = self._random.random(len(points))
        self.num_seen += len(points)
        if self.max_points:
            early = keys < self._limit
            keys, points, colors, confidence = keys[early], points[early], colors[early], confidence[early]
        part = _Points(
            keys,
            np.array(points, np.float32, copy=True),
            np.array(colors, np.uint8, copy=True),
            np.array(confidence, np.float32, copy=True),
        )
        self._parts.append(part)
        self._held += len(keys)
        if self.max_points and self._held > self.max_points + max(self.max_points // 2, 1 << 16):
            self._choose()

    def raise_threshold(self, threshold: float, least_share: float) -> None:
        """Drop points of low confidence, but keep at least a share of all.

        Args:
            threshold: points of strictly higher confidence stay.
            least_share: where fewer than this share would stay, the threshold is lowered until it does.
        """
        held = self._choose()
        if not len(held.keys):
            self.threshold = threshold
            return
        # Just below an existing value, so that a strict comparison keeps the points with that value.
        lowest = np.nextafter(np.quantile(held.confidence, 1 - least_share, method="higher"), np.float32(0))
        self.threshold = max(self.threshold, min(threshold, float(lowest)))
        keep = held.confidence > self.threshold
        self.num_seen = round(self.num_seen * float(keep.mean()))
        self._parts, self._held = [_Points(*(column[keep] for column in held.columns))], int(keep.sum())

    def close(self) -> None:
        """Drop the points beyond the bound."""
        self._choose()

    @property
    def points(self) -> NDArray[np.float32]:
        """(P, 3) world, in the order in which they came."""
        return self._choose().points

    @property
    def colors(self) -> NDArray[np.uint8]:
        """(P, 3) RGB."""
        return self._choose().colors

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(P,)."""
        return self._choose().confidence

    def _choose(self) -> _Points:
        """Join the parts and keep the points of the smallest keys."""
        if len(self._parts) == 1 and (not self.max_points or self._held <= self.max_points):
            return self._parts[0]
        parts = self._parts or [_Points.none()]
        joined = _Points(
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.colors for part in parts]),
            np.concatenate([part.confidence for part in parts]),
        )
        if self.max_points and len(joined.keys) > self.max_points:
            chosen = np.argpartition(joined.keys, self.max_points - 1)[: self.max_points]
            chosen.sort()
            joined = _Points(*(column[chosen] for column in joined.columns))
            self._limit = float(joined.keys.max())
        self._parts, self._held = [joined], len(joined.keys)
        return joined


@dataclass(frozen=True)
class _Points:
    keys: NDArray[np.float64]
    points: NDArray[np.float32]
    colors: NDArray[np.uint8]
    confidence: NDArray[np.float32]

    @property
    def columns(self) -> tuple[NDArray, ...]:
        return self.keys, self.points, self.colors, self.confidence

    @staticmethod
    def none() -> _Points:
        return _Points(np.empty(0), np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8), np.empty(0, np.float32))


@dataclass(frozen=True)
class FrameSummary:
    """A registered frame without its pixels."""

    index: int
    name: str
    timestamp: float
    status: Status
    keyframe: bool
    mean_confidence: float
    """Mean confidence of the registration, over all pixels."""
    min_confidence: float
    local_mean_confidence: float
    pose_inliers: float
    camera_to_world: NDArray[np.float64] | None
    """(4, 4) OpenCV; None where no pose was found."""

    @property
    def has_pointmap(self) -> bool:
        """Whether the frame went through the networks; if not, it has a pose alone."""
        return has_pointmap(self.status)


class FrameRecorder:
    """Records poses, confidences and statuses of all frames."""

    def __init__(self) -> None:
        self.frames: list[FrameSummary] = []
        self.intrinsics: NDArray[np.float64] | None = None
        """(3, 3) network pixels, shared by all frames; None before the first frame."""

    def add(self, frame: RegisteredFrame) -> None:
        """Take a frame."""
        self.intrinsics = frame.intrinsics.double().numpy().copy()
        pose = frame.camera_to_world
        summary = FrameSummary(
            index=frame.index,
            name=frame.name,
            timestamp=frame.timestamp,
            status=frame.status,
            keyframe=frame.keyframe,
            mean_confidence=frame.mean_confidence,
            min_confidence=float(frame.world_confidence.min()),
            local_mean_confidence=frame.local_mean_confidence,
            pose_inliers=frame.pose_inliers,
            camera_to_world=None if pose is None else pose.double().numpy().copy(),
        )
        self.frames.append(summary)

    def close(self) -> None:
        """Nothing to do."""
