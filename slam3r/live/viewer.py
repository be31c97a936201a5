"""The map as it grows, in the rerun viewer (https://rerun.io; the extra ``viewer``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from common.drawing.rerun_scene import RerunScene
from common.errors import ConfigurationError
from slam3r.live.updates import FrameUpdate

IMAGE_EVERY = 5
"""Every n-th picture is shown."""


class Viewer(Protocol):
    """Shows what a session answers."""

    def show(self, updates: Sequence[FrameUpdate]) -> None:
        """Show answers, in order."""


class RerunViewer:
    """Camera, path, picture and the points that each frame changed; a world per segment."""

    def __init__(self, save_to: str | None = None) -> None:
        """
        Args:
            save_to: an .rrd file to write; None opens a window.

        Raises:
            ConfigurationError: rerun is not installed.
        """
        try:
            self._scene = RerunScene("slam3r live", None if save_to is None else Path(save_to))
        except ImportError as error:
            raise ConfigurationError(f"viewer: {error}") from error
        self._segment = -1

    def show(self, updates: Sequence[FrameUpdate]) -> None:
        """Show answers, in order."""
        for update in updates:
            self._scene.begin(update.number)
            if update.segment != self._segment:
                self._segment = update.segment
                self._scene.new_world(f"world/segment_{update.segment}")
            self._show_frame(update)

    def _show_frame(self, update: FrameUpdate) -> None:
        scene, frame = self._scene, update.frame
        scene.say(f"segment {update.segment}: {update.state.value}")
        if frame is None:
            return
        if update.trusted and frame.camera_to_world is not None:
            scene.pinhole(frame.intrinsics.double().numpy(), (frame.image.shape[1], frame.image.shape[2]))
            scene.camera(frame.camera_to_world.double().numpy())
        if update.number % IMAGE_EVERY == 0:
            scene.picture(frame.colors.numpy())
        delta = update.map_delta
        if delta is not None and delta.new.any():
            scene.points(update.number, delta.points[delta.new], delta.colors[delta.new])
