"""Refinement of saved segments. What waits for it is on disk, and the next worker goes on with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.files import read_json, remove_leftovers, write_json
from slam3r.live.refining.segment_input import SegmentInput
from slam3r.live.refining.segment_refiner import RefinementStopped, SegmentJob, SegmentRefiner
from slam3r.service.segments.files import ABOUT, STAGED_WORLD

logger = logging.getLogger(__name__)

_INPUT, _NOTE = ".npz", ".json"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, RecursionError)


@dataclass(frozen=True)
class RefinedSegment:
    """Outcome of the refinement of a saved segment."""

    stream_id: str
    segment: str
    part: int
    folder: str
    applied: bool
    """Whether the folder was replaced."""
    verdict: str | None
    """Agreement of pictures and cameras, in a sentence; None where the refinement failed."""


OnRefined = Callable[[RefinedSegment], Awaitable[None]]


class SegmentRefinements:
    """Two files for each segment that waits: its input and, once it is published, a note of its folder.

    They lie beside the staged folders, under the name that the segment was staged by. The note goes when the outcome is
    told; the refiner removes the input when it is done with it.
    """

    def __init__(self, staging: Path, refiner: SegmentRefiner | None, on_refined: OnRefined) -> None:
        """
        Args:
            staging: folder of the staged segments.
            refiner: closed with this, and made to keep what is unfinished then; None for no refinement.
            on_refined: is told of every outcome.
        """
        self._staging, self._refiner, self._on_refined = staging, refiner, on_refined
        self._tasks: set[asyncio.Task] = set()

    def keep_input(self, staged: Path, held: SegmentInput | None) -> None:
        """Write what the refinement of a staged segment needs. May be called in a thread."""
        if self._refiner is not None and held is not None:
            held.spool(self._file(staged, _INPUT))

    def published(self, staged: Path, folder: Path) -> None:
        """A segment is in its folder now: refine it if its input was kept."""
        if self._file(staged, _INPUT).exists():
            self.note(staged, folder)
            self._begin(self._file(staged, _NOTE), folder)

    def note(self, staged: Path, folder: Path) -> None:
        """Write down where a segment is that waits to be refined."""
        if self._file(staged, _INPUT).exists():
            try:
                write_json(self._file(staged, _NOTE), {"folder": str(folder.resolve())})
            except (OSError, InputError) as error:
                logger.error("%s will not be refined if this worker stops before: %s", folder, error)

    def recover(self) -> None:
        """Go on with what earlier workers left."""
        notes = [path for path in self._staging.glob(f"*{_NOTE}") if STAGED_WORLD.fullmatch(path.stem)]
        for note in sorted(notes, key=lambda path: path.stat().st_mtime_ns):
            try:
                folder = Path(read_json(note)["folder"])
                remove_leftovers(folder.parent)  # of a worker that died while it replaced the folder
                read_json(folder / ABOUT)
            except _DAMAGED as error:
                logger.error("%s: a segment of an earlier worker is not refined: %s", note, str(error)[:200])
                note.unlink(missing_ok=True)
                continue
            if self._refiner is None:
                logger.info("%s is not refined: this worker refines nothing", folder)
                note.unlink()
                continue
            self._begin(note, folder)
        for kept in self._staging.glob(f"*{_INPUT}"):
            if not kept.with_suffix(_NOTE).exists():
                kept.unlink()

    def close(self) -> None:
        """End; the next worker goes on."""
        if self._refiner is not None:
            self._refiner.close(wait=False)
        for task in self._tasks:
            task.cancel()

    def _begin(self, note: Path, folder: Path) -> None:
        task = asyncio.create_task(self._refine(note, folder))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _refine(self, note: Path, folder: Path) -> None:
        assert self._refiner is not None, "nothing is kept without one"
        is_told = "verdict" in await asyncio.to_thread(read_json, folder / ABOUT)  # and the worker died before it told
        if not is_told:
            try:
                await asyncio.wrap_future(self._refiner.submit(SegmentJob(note.with_suffix(_INPUT), folder, ABOUT)))
            except RefinementStopped:
                logger.info("%s is not refined yet; the next worker goes on with it", folder)
                return
        about = await asyncio.to_thread(read_json, folder / ABOUT)
        verdict = about.get("verdict")
        await self._on_refined(
            RefinedSegment(
                stream_id=about["stream_id"],
                segment=about["segment"],
                part=about["part"],
                folder=str(folder),
                applied=verdict is not None and verdict["applied"] != "none",
                verdict=None if verdict is None else verdict["sentence"],
            )
        )
        for path in (note, note.with_suffix(_INPUT)):
            path.unlink(missing_ok=True)

    def _done(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a refined segment was not told of", exc_info=task.exception())

    def _file(self, staged: Path, suffix: str) -> Path:
        return self._staging / f"{staged.name}{suffix}"
