"""One offline run: a source through a reconstructor into sinks, with a report of its progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from common.data.sources.frame_source import Frame, FrameSource
from common.data.sources.prefetch import Prefetcher
from common.data.sources.preprocess import Preprocessed, intrinsics_to_original, preprocess
from common.export.result_folder import write_image
from common.meters import MemoryMeter
from common.progress import ProgressReporter
from common.refinement.pictures import CameraNumbers
from slam3r.reconstruction import Networks, ReconstructionSettings, RegisteredFrame
from slam3r.reconstruction.between.start import AnyReconstructor, start_reconstruction
from slam3r.reconstruction.events import Event, Initialized, Observer, StrideTried
from slam3r.scene.between.between_frames import BetweenFrames
from slam3r.scene.camera_focals import CameraFocals
from slam3r.scene.frame_strip import StripRecorder
from slam3r.scene.known.input import KnownInput
from slam3r.scene.outputs import image_name
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene import Scene
from slam3r.scene.scene_data import SceneFrame
from slam3r.scene.settings import ExportSettings, RunSettings
from slam3r.scene.sinks import FrameRecorder, PointStore, Sink

logger = logging.getLogger(__name__)


Prepared = tuple[Frame, Preprocessed]


def stream(
    frames: Iterable[Prepared],
    reconstructor: AnyReconstructor,
    batch: int = 10,
    on_read: Callable[[Frame, Preprocessed], None] | None = None,
) -> Iterator[RegisteredFrame]:
    """Push all frames of a source and yield the registered frames.

    Args:
        frames: usually from `common.data.sources.prefetch.prefetch`.
        reconstructor: a new one; it is finished afterwards.
        batch: frames pushed at once.
        on_read: called with every frame before it is pushed, in the order of `RegisteredFrame.index`.

    Raises:
        InputError: from the source, or `SequenceTooShort` at the end.
    """
    iterator = iter(frames)
    while True:
        with reconstructor.timer("waiting for frames"):
            items = list(islice(iterator, batch))
        if not items:
            break
        for frame, prepared in items:
            if on_read is not None:
                on_read(frame, prepared)
        yield from reconstructor.feed(
            torch.stack([prepared.image for _, prepared in items]),
            [frame.timestamp for frame, _ in items],
            [frame.name for frame, _ in items],
        )
    yield from reconstructor.drain()


@dataclass(frozen=True)
class _Origin:
    """Origin of a frame, which the reconstructor does not need."""

    number: int
    file: Path | None
    camera: int
    prepared: Preprocessed


class OfflineRun:
    """Drives one reconstruction; `execute` runs once."""

    def __init__(
        self,
        networks: Networks,
        settings: ReconstructionSettings,
        export: ExportSettings,
        options: RunSettings,
        sinks: Sequence[Sink] = (),
        images: Path | None = None,
        observer: Observer | None = None,
        held: RefinementInput | None = None,
        known: KnownInput | None = None,
    ) -> None:
        """
        Args:
            networks: the two models, ready to run.
            settings: settings of the reconstruction.
            export: choice of points. Its confidence must be set, and is final if its share is 0.
            options: batch sizes.
            sinks: additional sinks, besides those of the scene.
            images: folder to write the original frames to; None for not at all.
            observer: called with every decision of the reconstructor.
            held: takes what refinement needs; None for nothing.
            known: prepares frames of which something is known; None where nothing is.
        """
        assert export.confidence is not None
        self._observer = observer
        self._reconstructor = start_reconstruction(networks, settings, self._observe)
        self._meter = MemoryMeter(networks.device)
        self._options, self._images = options, images
        self._export = export
        adapts = export.share > 0  # the threshold is known only at the end: until then, all points are candidates
        bound = round(export.max_points / export.share) if adapts else export.max_points
        self._points = PointStore(0.0 if adapts else export.confidence, bound, settings.seed)
        self._frames, self._strip = FrameRecorder(), StripRecorder()
        self._cameras = CameraNumbers()
        self._focals = CameraFocals(self._cameras, settings.local_threshold)
        self._sinks: list[Sink] = [self._frames, self._points, self._strip, self._focals, *sinks]
        self._held, self._known = held, known
        self.between = BetweenFrames(lambda index: self._origins[index].prepared.original_from_network)
        """The frames without pointmaps."""
        self._sinks.append(self.between)
        if held is not None:
            self._sinks.append(held)
        self._origins: list[_Origin] = []
        self._strides: list[StrideTried] = []
        self._initial: Initialized | None = None
        self._progress: ProgressReporter | None = None
        self._source: FrameSource | None = None

    def execute(self, source: FrameSource, model: dict[str, Any]) -> Scene:
        """Run to the end of the source, or until Ctrl-C if something is registered by then.

        Args:
            source: validated.
            model: for `SceneData.model`.

        Raises:
            InputError: from the source, or `SequenceTooShort`.
        """
        start, interrupted = time.perf_counter(), False
        self._source = source
        self._progress = ProgressReporter("read", source.length, "frame", show=self._options.progress)
        with self._progress, Prefetcher(source, self._prepare, self._options.read_ahead) as frames:
            try:
                for frame in stream(frames, self._reconstructor, self._options.push_batch, self._note):
                    self._take(frame)
            except KeyboardInterrupt:
                if not self._frames.frames:
                    raise
                interrupted = True
                logger.warning("interrupted: the %d frames registered so far are kept", len(self._frames.frames))
            finally:
                for sink in self._sinks:
                    sink.close()
                if self._export.share > 0 and self._export.confidence is not None:
                    self._points.raise_threshold(self._export.confidence, self._export.share)
        return self._scene(source, model, time.perf_counter() - start, interrupted)

    def _prepare(self, frame: Frame) -> tuple[Frame, Preprocessed]:
        """Prepare a frame, in the reading thread. Drops its original pixels, which would fill the memory."""
        item = None
        if self._known is None:
            prepared = preprocess(frame.image, self._options.size)
        else:
            frame, prepared, item = self._known.prepare(frame)
        if self._source is not None:
            self._source.note_crop(prepared.original_size, self._options.size)
        if self._held is not None:
            self._held.keep(frame, prepared, item)
        if self._images is not None:
            write_image(self._images / image_name(frame.index), frame.image)
        return replace(frame, image=frame.image[:0, :0].copy()), prepared

    def _note(self, frame: Frame, prepared: Preprocessed) -> None:
        nothing = torch.empty(0)  # the image is with the reconstructor
        camera = self._cameras.of(prepared.original_size, frame.path)
        self._origins.append(_Origin(frame.index, frame.path, camera, replace(prepared, image=nothing)))
        if self._progress is not None and self._initial is None:
            self._progress.update()

    def _take(self, frame: RegisteredFrame) -> None:
        usable = None if self._known is None else self._known.usable(frame.index)
        if usable is not None:
            frame = replace(frame, valid=frame.valid & usable)
        with self._reconstructor.timer("sinks"):
            for sink in self._sinks:
                sink.add(frame)
        if self._progress is not None:
            self._progress.update()

    def _observe(self, event: Event) -> None:
        if self._observer is not None:
            self._observer(event)
        if isinstance(event, StrideTried):
            self._strides.append(event)
            if self._progress is not None:
                self._progress.describe(f"read, trying stride {event.stride}")
        elif isinstance(event, Initialized):
            self._initial = event
            if self._progress is not None:  # from here on it counts registered frames
                self._progress.restart("register")

    def _scene(self, source: FrameSource, model: dict[str, Any], seconds: float, interrupted: bool) -> Scene:
        recorded, reconstructor, initial = self._frames, self._reconstructor, self._initial
        assert recorded.intrinsics is not None and reconstructor.stride is not None and initial is not None
        taken_by = {frame.index: self._origins[frame.index].camera for frame in recorded.frames}
        own, frames = self._focals.intrinsics(recorded.intrinsics, taken_by), []
        for frame in recorded.frames:
            origin = self._origins[frame.index]
            known = None if self._known is None else self._known.frames[frame.index].intrinsics
            estimated = intrinsics_to_original(
                torch.from_numpy(own[frame.index]), origin.prepared.original_from_network
            ).numpy()
            scene_frame = SceneFrame(
                **vars(frame),
                number=origin.number,
                original_size=origin.prepared.original_size,
                intrinsics=estimated if known is None else known,
                file=origin.file,
            )
            frames.append(scene_frame)
        return Scene(
            points=self._points.points,
            colors=self._points.colors,
            confidence=self._points.confidence,
            frames=frames,
            network_intrinsics=recorded.intrinsics,
            network_size=self._options.size,
            stride=reconstructor.stride,
            initial_window=initial.frames,
            initial_reference=initial.reference,
            settings=reconstructor.settings,
            threshold=self._points.threshold,
            num_confident=self._points.num_seen,
            highest_confidence=self._points.highest_confidence,
            seconds=reconstructor.timer.summary(),
            total_seconds=seconds,
            peak_memory=self._meter.peak(),
            model=model,
            skipped=list(source.skipped),
            notes=list(source.notes),
            ended=source.ended,
            strides_tried=self._strides,
            strip=self._strip.frames,
            interrupted=interrupted,
        )
