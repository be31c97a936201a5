"""One live run: a camera or a video through a live session into a folder and a viewer."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

from common.data.sources.camera import CameraSource
from common.data.sources.frame_source import Frame, FrameSource
from common.data.sources.prefetch import Prefetcher
from common.errors import ConfigurationError, InputError
from common.export.result_folder import OutputExists
from common.files import check_apart, check_file_writable, check_writable, remove_leftovers
from common.geometry.calibration import Calibration
from common.paths import user_path
from common.progress import ProgressReporter
from common.refinement.settings import RefinementSettings
from slam3r.live.frame_preparer import PreparedFrame
from slam3r.live.outputs import LIVE_SUMMARY, SegmentWriter, write_statistics
from slam3r.live.refining.segment_refiner import SegmentRefiner, open_refiner
from slam3r.live.session import LiveReconstruction
from slam3r.live.settings import LiveSettings, StreamingSettings, ViewSettings, for_live
from slam3r.live.statistics import LiveStatistics
from slam3r.live.viewer import RerunViewer, Viewer
from slam3r.models.description import Slam3rDescription
from slam3r.pretrained import ready_model
from slam3r.reconstruction import ReconstructionSettings
from slam3r.scene.settings import RunSettings

logger = logging.getLogger(__name__)


def make_session(
    model: Slam3rDescription,
    reconstruction: ReconstructionSettings,
    streaming: StreamingSettings,
    run: RunSettings,
    calibration: Calibration | None,
    writer: SegmentWriter,
) -> LiveReconstruction:
    """Load the model and open a session.

    Raises:
        ConfigurationError: no such device, or settings that a live session cannot use.
        CheckpointError: weights are missing or damaged.
    """
    try:
        settings = LiveSettings(for_live(reconstruction), streaming, run.size)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    ready = ready_model(model, reconstruction, run.device, run.dtype)
    return LiveReconstruction(ready.network, settings, calibration, writer.segment_ended)


def run_live(
    source: FrameSource,
    session: LiveReconstruction,
    writer: SegmentWriter,
    viewer: Viewer | None,
    options: RunSettings,
) -> LiveStatistics:
    """Push a source through a session to its end, or until Ctrl-C.

    A camera does not wait: frames that come while the session is busy are dropped, oldest first. A video waits.

    Raises:
        InputError: from the source.
    """
    live_camera = isinstance(source, CameraSource)
    batch = 1 if live_camera else options.push_batch

    def prepare(frame: Frame) -> tuple[Frame, PreparedFrame]:
        try:
            ready = session.prepare(frame.image)
        except ValueError as error:
            raise InputError(f"{frame.name}: {error}") from error
        source.note_crop(frame.image.shape[:2], session.settings.size)
        return replace(frame, image=frame.image[:0, :0].copy()), ready

    progress = ProgressReporter("live", source.length, "frame", show=options.progress)
    with progress, Prefetcher(source, prepare, options.read_ahead, drop_oldest=live_camera) as frames:
        try:
            while items := list(islice(frames, batch)):
                ready, sources = [ready for _, ready in items], [frame for frame, _ in items]
                times, names = [frame.timestamp for frame in sources], [frame.name for frame in sources]
                for update in session.feed(ready, times, names):
                    writer.take([update])
                    if viewer is not None:
                        viewer.show([update])
                progress.describe(session.state.value)
                progress.update(len(items))
        except KeyboardInterrupt:
            logger.warning("interrupted: what is registered so far is kept")
        if frames.dropped:
            logger.warning("%d frames arrived faster than they could be processed, and were dropped", frames.dropped)
    for name, reason in source.skipped:
        logger.warning("%s: %s", name, reason)
    updates = session.flush()
    writer.take(updates)
    if viewer is not None:
        viewer.show(updates)
    return session.statistics()


def reconstruct_live(
    source: FrameSource,
    model: Slam3rDescription,
    output: str | Path,
    reconstruction: ReconstructionSettings,
    streaming: StreamingSettings,
    run: RunSettings,
    calibration: Calibration | None = None,
    view: ViewSettings | None = None,
    overwrite: bool = False,
    refinement: RefinementSettings | None = None,
) -> tuple[LiveStatistics, list[Path]]:
    """Reconstruct a source live: everything that ``scripts/reconstruct.py live=true`` does.

    With ``streaming.refine``, ended segments are refined beside the session, by `refinement`, and this waits for the
    last of them. Ctrl-C then leaves what is not refined yet as it was written.

    Returns:
        The session in numbers, and the folders that were written.

    Raises:
        InputError, ConfigurationError, CheckpointError: errors that the user can correct.
    """
    folder = user_path(output)
    check_writable(folder, (LIVE_SUMMARY,))
    if (folder / LIVE_SUMMARY).exists() and not overwrite:
        raise OutputExists(f"output {folder} already holds {LIVE_SUMMARY}; choose another folder, or overwrite=true")
    check_apart(folder, source.folders)
    shown = view or ViewSettings()
    if shown.save_to is not None:
        check_file_writable(shown.save_to)
    viewer = open_viewer(shown)
    source.validate()
    remove_leftovers(folder)
    refiner = open_refiner(streaming, refinement)
    writer = SegmentWriter(folder, refiner)
    finished = False
    try:
        session = make_session(model, reconstruction, streaming, run, calibration, writer)
        statistics = run_live(source, session, writer, viewer, run)
        written = [*writer.written, write_statistics(folder, statistics, source)]
        finished = True
    finally:
        if refiner is not None:
            _finish_refining(refiner, finished, run.progress)
    return statistics, written


def _finish_refining(refiner: SegmentRefiner, wait: bool, progress: bool) -> None:
    with ProgressReporter("refine the last segments", show=progress):
        try:
            refiner.close(wait)
        except KeyboardInterrupt:
            logger.warning("interrupted: segments that are not refined stay as they are")
            refiner.close(wait=False)


def open_viewer(view: ViewSettings) -> Viewer | None:
    """Open the viewer that was asked for; None for none.

    Raises:
        ConfigurationError: rerun was asked for and is not installed.
    """
    if view.viewer == "none" and view.save_to is None:
        return None
    try:
        if view.viewer == "auto" and view.save_to is None and not sys.stdout.isatty():
            return None
        return RerunViewer(view.save_to)
    except ConfigurationError:
        if view.viewer == "auto" and view.save_to is None:
            return None
        raise
