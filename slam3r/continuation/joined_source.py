"""The pictures of a run and new ones as one source, with the cameras that are known of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.data.sources.frame_source import Frame, FrameSource
from common.data.sources.images import is_plain_file, read_picture
from common.geometry.lens import Lens
from common.known.cameras import KnownCamera, KnownCameras, LensOf
from common.refinement.pictures import exif_camera
from slam3r.continuation.finished_run import FinishedRun


class CamerasOfRun(KnownCameras):
    """Cameras of a run's pictures, and the lenses of those new ones that the same cameras took.

    Args:
        run: finished.
    """

    def __init__(self, run: FinishedRun) -> None:
        shared: dict[Lens, LensOf] = {}  # one function for each lens: pictures of one camera are told by it
        self._lenses: dict[tuple, LensOf] = {}
        self._new: dict[str, KnownCamera] = {}
        cameras = []
        for frame in run.frames:
            lens_of = shared.setdefault(frame.lens, frame.lens.scaled)
            self._lenses.setdefault((*frame.size, *exif_camera(frame.file)), lens_of)
            camera = KnownCamera(frame.camera_to_world, lens_of, frame.lens.is_straight)
            cameras.append((frame.name, camera))
        super().__init__(cameras, str(run.folder))

    def note(self, name: str, frame: Frame) -> None:
        """Remember a new picture: it has the lens of those pictures of the run whose size and EXIF it has."""
        lens_of = self._lenses.get((*frame.image.shape[:2], *exif_camera(frame.path)))
        if lens_of is not None:
            self._new[name] = KnownCamera(np.full((4, 4), np.nan), lens_of)

    @property
    def only_lens(self) -> LensOf | None:  # type: ignore[override]
        """None: the lens of another camera is not known."""
        return None

    def find(self, name: str) -> KnownCamera | None:
        """The camera of a picture by its whole name: a new one may be called like an old one but for its ending."""
        return self._cameras.get(name) or self._new.get(name)


class JoinedSource(FrameSource):
    """The pictures of a run in their order, then those of another source.

    Args:
        run: finished.
        more: new pictures.
        prefix: put before the names of new pictures.
        cameras: is told of every new picture before it is handed out.
    """

    def __init__(self, run: FinishedRun, more: FrameSource, prefix: str, cameras: CamerasOfRun) -> None:
        super().__init__()
        self._run, self._more, self._prefix, self._cameras = run, more, prefix, cameras
        self.skipped, self.notes = more.skipped, more.notes

    @property
    def length(self) -> int | None:
        return None if self._more.length is None else len(self._run.frames) + self._more.length

    @property
    def files_are_plain(self) -> bool:
        return self._more.files_are_plain and all(is_plain_file(frame.file) for frame in self._run.frames)

    @property
    def folders(self) -> set[Path]:
        return self._more.folders | {frame.file.parent for frame in self._run.frames}

    def __iter__(self) -> Iterator[Frame]:
        last = 0.0
        for number, old in enumerate(self._run.frames):
            last = old.timestamp
            yield Frame(read_picture(old.file).pixels, number, last, old.name, old.file)
        count, shift = len(self._run.frames), None
        for frame in self._more:
            if shift is None:
                shift = 0.0 if frame.timestamp > last else last - frame.timestamp + self._step
            name = f"{self._prefix}{frame.name}"
            self._cameras.note(name, frame)
            yield Frame(frame.image, count + frame.index, frame.timestamp + shift, name, frame.path)

    @property
    def _step(self) -> float:
        """Seconds between two pictures of the run."""
        return float(np.median(np.diff([frame.timestamp for frame in self._run.frames])))
