"""The map as it grows, in the rerun viewer (https://rerun.io; the extra ``viewer``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from common.configuration import ConfigurationError
from common.data.preprocess import denormalize
from common.geometry.cameras import colmap_from_opencv
from slam3r.live_updates import FrameUpdate

IMAGE_EVERY = 5
"""Frames between pictures that are shown."""


class Viewer(Protocol):
    """Shows what a session answers."""

    def show(self, updates: Sequence[FrameUpdate]) -> None:
        """Show answers, in order."""


class RerunViewer:
    """Camera, path, picture and the points that each frame changed."""

    def __init__(self, save_to: str | None = None) -> None:
        """
        Args:
            save_to: an .rrd file to write; None opens a window.

        Raises:
            ConfigurationError: rerun is not installed.
        """
        try:
            import rerun
        except ImportError:
            raise ConfigurationError("the viewer needs rerun: pip install 'slam3r-uni3r[viewer]'") from None
        self._rerun: Any = rerun
        rerun.init("slam3r live", spawn=save_to is None)
        if save_to is not None:
            rerun.save(save_to)
        self._path: list[np.ndarray] = []
        self._segment = -1

    def show(self, updates: Sequence[FrameUpdate]) -> None:
        """Show answers, in order."""
        for update in updates:
            self._rerun.set_time("frame", sequence=update.number)
            if update.segment != self._segment:
                self._segment, self._path = update.segment, []
                self._rerun.log("world", self._rerun.ViewCoordinates.RDF)
            self._show_frame(update)

    def _show_frame(self, update: FrameUpdate) -> None:
        rerun, frame = self._rerun, update.frame
        rerun.log("state", rerun.TextLog(f"segment {update.segment}: {update.state.value}"))
        if frame is None:
            return
        world = f"world/segment_{update.segment}"
        if update.trusted and frame.camera_to_world is not None:
            pose = frame.camera_to_world.double().numpy()
            height, width = frame.image.shape[1:]
            rerun.log(f"{world}/camera", rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
            intrinsics = colmap_from_opencv(frame.intrinsics).numpy()  # rerun's pixels begin at their corner, too
            rerun.log(f"{world}/camera/image", rerun.Pinhole(image_from_camera=intrinsics, resolution=[width, height]))
            self._path.append(pose[:3, 3])
            rerun.log(f"{world}/path", rerun.LineStrips3D([np.array(self._path[-5000:])]))
        if update.number % IMAGE_EVERY == 0:
            rerun.log(f"{world}/camera/image", rerun.Image(denormalize(frame.image).numpy()))
        delta = update.map_delta
        if delta is not None and delta.new.any():
            # An entity per frame: only what is new is sent, and the viewer keeps the rest.
            points = rerun.Points3D(delta.points[delta.new], colors=delta.colors[delta.new])
            rerun.log(f"{world}/points/{update.number}", points)
