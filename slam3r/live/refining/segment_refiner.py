"""Refinement of closed segments, one at a time, in a process beside the session."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from common.export.mesh import write_mesh_glb
from common.export.ply import write_mesh_ply
from common.export.result_folder import MESH, SUMMARY, write_map
from common.files import atomic_folder, read_json, write_json
from common.processes import become_helper
from common.refinement.outcome import Refinement
from common.refinement.refine import refine
from common.refinement.settings import Mode, RefinementSettings
from slam3r.live.refining.segment_input import SpooledSegment, read_segment_input
from slam3r.live.settings import StreamingSettings
from slam3r.scene.fused_mesh import fuse_frames
from slam3r.scene.refined import confirmed_points, resolve_mode

logger = logging.getLogger(__name__)

_NICE = 10
"""The networks come first where processors are few."""
MESH_BINARY = "mesh.glb"


@dataclass(frozen=True)
class SegmentJob:
    """A closed segment to refine."""

    spool: Path
    """File of `SegmentInput.spool`; removed afterwards."""
    folder: Path
    """The segment as it was written; replaced where refinement wins."""
    summary: str = SUMMARY
    """Its summary, which also tells the verdict."""
    max_points: int = 2_000_000
    """Points of the result at most, a uniform random choice."""


def refine_segment(job: SegmentJob, settings: RefinementSettings) -> Refinement:
    """Refine a segment on disk: its folder is replaced as a whole, or keeps its results and gains the verdict.

    The new folder holds confirmed points, the adjusted poses of the frames that were kept, and a mesh of confirmed
    depth.
    """
    segment = read_segment_input(job.spool)
    refinement = refine(segment.pictures, segment.prediction, settings, cameras=segment.cameras)
    verdict = {**asdict(refinement.verdict), "sentence": refinement.verdict.sentence()}
    about = {**read_json(job.folder / job.summary), "verdict": verdict}
    if refinement.cameras is None:
        write_json(job.folder / job.summary, about)
        return refinement
    with atomic_folder(job.folder) as folder:
        _write(folder, job, segment, refinement, about)
    return refinement


def _write(folder: Path, job: SegmentJob, segment: SpooledSegment, refinement: Refinement, about: dict) -> None:
    assert refinement.cameras is not None
    store = confirmed_points(refinement, lambda row: segment.colors[row], job.max_points)
    poses = refinement.cameras.placed.double().numpy()
    posed = np.isfinite(poses).all(axis=(1, 2))
    mesh = fuse_frames(refinement, lambda row: segment.colors[row])
    about |= {"points": len(store.points), "poses": int(posed.sum()), "triangles": len(mesh.triangles)}
    about["refined_frames"] = len(poses)
    cloud = (store.points, store.colors, store.confidence)
    write_map(folder, cloud, segment.times[posed], poses[posed], about, job.summary)
    if len(mesh.triangles):
        write_mesh_ply(folder / MESH, mesh.vertices, mesh.triangles, mesh.colors)
        if find_spec("trimesh") is not None:
            write_mesh_glb(folder / MESH_BINARY, mesh, poses[posed])


class RefinementStopped(Exception):
    """A segment is not refined yet: the refiner was closed, or somebody told its process to end."""


class SegmentRefiner:
    """Refines segments in the order in which they come. What waits is on disk; one process works, with low priority."""

    def __init__(self, settings: RefinementSettings, keep_unfinished: bool = False) -> None:
        """
        Args:
            settings: of the refinement, with a mode.
            keep_unfinished: leave the files of segments that are not refined when this is closed, for another process.
        """
        self._settings, self._keep_unfinished = settings, keep_unfinished
        self._queue = ThreadPoolExecutor(1, "refine")
        self._lock, self._closing = threading.Lock(), False
        self._process: multiprocessing.process.BaseProcess | None = None

    def submit(self, job: SegmentJob) -> Future[bool]:
        """Refine a segment that is written; whether that went well. If not, it stays as it was. Where it did not come
        to that, the future is cancelled or holds `RefinementStopped`."""
        done = self._queue.submit(self._run, job)
        done.add_done_callback(lambda _: self._remove_input(job, done))
        return done

    def close(self, wait: bool = True) -> None:
        """End; without `wait`, at once, and segments that are not refined yet stay as they are."""
        if not wait:
            with self._lock:
                self._closing = True
                if self._process is not None:
                    self._process.kill()
        self._queue.shutdown(wait=wait, cancel_futures=not wait)

    def _remove_input(self, job: SegmentJob, done: Future[bool]) -> None:
        is_finished = not (done.cancelled() or isinstance(done.exception(), RefinementStopped))
        if is_finished or not self._keep_unfinished:
            job.spool.unlink(missing_ok=True)

    def _run(self, job: SegmentJob) -> bool:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_work, args=(job, self._settings), name="refine segment")
        try:
            with self._lock:
                if self._closing:
                    raise RefinementStopped(job.folder)
                process.start()
                self._process = process
            process.join()
            # A service manager tells all processes at once to end, and this one may be the first to do so.
            if self._closing or process.exitcode == -signal.SIGTERM:
                raise RefinementStopped(job.folder)
            if process.exitcode:
                logger.error("segment %s was not refined (exit %s); it stays as it was", job.folder, process.exitcode)
        finally:
            self._process = None
        return process.exitcode == 0


def open_refiner(
    streaming: StreamingSettings, refinement: RefinementSettings | None = None, keep_unfinished: bool = False
) -> SegmentRefiner | None:
    """The refiner that a live session asks for; None where it asks for none, or pycolmap is missing.

    Raises:
        ConfigurationError: pycolmap is missing, and a mode that needs it was named.
    """
    if not streaming.refine:
        return None
    settings = refinement or RefinementSettings()
    wish: Mode = "auto" if settings.mode in (None, "off") else settings.mode
    mode = resolve_mode(replace(settings, mode=wish), wish)
    return None if mode == "off" else SegmentRefiner(replace(settings, mode=mode), keep_unfinished)


def _work(job: SegmentJob, settings: RefinementSettings) -> None:
    """The process."""
    become_helper(_NICE)
    refine_segment(job, settings)
