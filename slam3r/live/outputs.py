"""Result folders of a live run: one per segment, written when the segment ends."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from common.data.sources.frame_source import FrameSource
from common.export.result_folder import write_map
from common.files import atomic_folder, write_json
from slam3r.live.refining.segment_refiner import SegmentJob, SegmentRefiner
from slam3r.live.statistics import LiveStatistics
from slam3r.live.updates import FinishedSegment, FrameUpdate

logger = logging.getLogger(__name__)

LIVE_SUMMARY = "live.json"


class SegmentWriter:
    """Keeps the poses of the segments that are open, and writes ``segment_0000`` and so on as they close.

    Each folder holds the map as ``points.ply``, the trusted poses as ``trajectory.txt`` (TUM) and ``summary.json``.
    """

    def __init__(self, folder: Path, refiner: SegmentRefiner | None = None) -> None:
        """
        Args:
            folder: of the segments.
            refiner: refines what was written, where the segments bring what that needs.
        """
        self.folder, self._refiner = folder, refiner
        self.written: list[Path] = []
        self._poses: dict[int, list[tuple[float, np.ndarray]]] = {}
        self._finished: list[FinishedSegment] = []

    def take(self, updates: Sequence[FrameUpdate]) -> None:
        """Record the poses; then write the segments whose last answers these are."""
        for update in updates:
            if update.trusted and update.frame is not None and update.frame.camera_to_world is not None:
                pose = update.frame.camera_to_world.double().numpy().copy()
                self._poses.setdefault(update.segment, []).append((update.timestamp, pose))
        finished, self._finished = self._finished, []
        for segment in finished:
            self._write(segment)

    def segment_ended(self, segment: FinishedSegment) -> None:
        """Listener for `LiveReconstruction`. The next `take`, which has its last answers, writes the segment."""
        self._finished.append(segment)

    def _write(self, segment: FinishedSegment) -> None:
        poses = self._poses.pop(segment.summary.number, [])
        final = self.folder / f"segment_{segment.summary.number:04d}"
        with atomic_folder(final) as folder:
            times, matrices = np.array([time for time, _ in poses]), np.array([pose for _, pose in poses])
            summary = {**asdict(segment.summary), "poses": len(poses), "points": segment.map.num_points}
            summary["points_evicted"] = segment.map.num_evicted
            scene_map = segment.map
            write_map(folder, (scene_map.points, scene_map.colors, scene_map.confidence), times, matrices, summary)
        self.written.append(final)
        self._refine(segment, final)

    def _refine(self, segment: FinishedSegment, final: Path) -> None:
        held = segment.refinement_input
        spool = self.folder / f".{final.name}.refine.npz"
        if self._refiner is not None and held is not None and held.spool(spool):
            self._refiner.submit(SegmentJob(spool, final))


def write_statistics(folder: Path, statistics: LiveStatistics, source: FrameSource) -> Path:
    """Write the session in numbers, what of its source was lost, and how that ended, as ``live.json``."""
    path = folder / LIVE_SUMMARY
    values = asdict(replace(statistics, frames_by_state={}))
    values["frames_by_state"] = {state.value: count for state, count in statistics.frames_by_state.items()}
    values["source"] = {
        "ended": source.ended or "its last frame",
        "skipped": [{"frame": name, "reason": reason} for name, reason in source.skipped],
        "notes": source.notes,
    }
    write_json(path, _without_nan(values))
    return path


def _without_nan(value):
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
