"""The reconstruction of one stream, as the service drives it; `slam3r.live.session.LiveReconstruction` is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from slam3r.live.frame_preparer import PreparedFrame
from slam3r.live.scene_map import SceneMap
from slam3r.live.session import LiveReconstruction
from slam3r.live.settings import LiveSettings
from slam3r.live.updates import FinishedSegment, FrameUpdate
from slam3r.reconstruction import Networks


class Session(Protocol):
    """Frames in, answers out: one for each frame, in order, under the frame's name. Called from one thread."""

    def feed(
        self, images: Sequence[PreparedFrame], timestamps: Sequence[float], names: Sequence[str]
    ) -> Iterator[FrameUpdate]:
        """Take frames, and yield each answer as soon as it is final; timestamps are seconds."""

    def drain(self) -> Iterator[FrameUpdate]:
        """There are no more frames."""

    def checkpoint(self, path: Path) -> None:
        """Write everything needed to go on."""

    @property
    def map(self) -> SceneMap | None:
        """Map of the current world."""


OnWorldEnd = Callable[[FinishedSegment], None]
SessionFactory = Callable[[Path | None, OnWorldEnd], Session]
"""Makes a session: a new one, or that of a checkpoint if a path is given."""


def live_sessions(networks: Networks, settings: LiveSettings) -> SessionFactory:
    """Sessions that share their networks and take turns on them. What is known of the camera comes with the frames."""

    def make(checkpoint: Path | None, on_end: OnWorldEnd) -> Session:
        if checkpoint is not None:
            return LiveReconstruction.restore(checkpoint, networks, on_end)
        return LiveReconstruction(networks, settings, on_segment_end=on_end)

    return make
