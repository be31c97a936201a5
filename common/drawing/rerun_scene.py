"""A scene that grows in rerun (https://rerun.io; the extra ``viewer``): into a recording or the viewer's window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LONGEST_PATH = 5000
"""Cameras of the path that are drawn, the last ones."""


class RerunScene:
    """Camera, path, picture and points on the timeline ``frame``."""

    def __init__(self, name: str, save_to: Path | None) -> None:
        """
        Args:
            name: name of the application, in the viewer's title.
            save_to: an .rrd file to write; None opens a window.

        Raises:
            ImportError: rerun is missing; it comes with the extra ``viewer``.
        """
        try:
            import rerun
        except ImportError as error:
            raise ImportError("this needs rerun: bash scripts/setup.sh viewer") from error
        self._rerun: Any = rerun
        self._stream = rerun.RecordingStream(name)
        if save_to is None:
            self._stream.spawn()
        else:
            self._stream.save(save_to)
        self._root = "world"
        self._path: list[NDArray[np.float64]] = []

    def begin(self, step: int) -> None:
        """Set the step that the following data belong to."""
        self._stream.set_time("frame", sequence=step)

    def new_world(self, root: str, up: NDArray[np.float64] | None = None) -> None:
        """Start another root entity with an empty path; ``up`` (3,) is its up axis, y down by default."""
        self._root, self._path = root, []
        self._stream.log(root, self._view_coordinates(up), static=True)

    def pinhole(self, intrinsics: NDArray, size: tuple[int, int]) -> None:
        """The camera's (3, 3) intrinsics (the centre of the top left pixel is (0, 0)) and (height, width)."""
        focal = intrinsics[[0, 1], [0, 1]]
        center = intrinsics[:2, 2] + 0.5  # in rerun the centre of the top left pixel is (0.5, 0.5)
        pinhole = self._rerun.Pinhole(focal_length=focal, principal_point=center, width=size[1], height=size[0])
        self._stream.log(f"{self._root}/camera/image", pinhole)

    def picture(self, image: NDArray[np.uint8]) -> None:
        """Log the camera image, (H, W, 3) RGB."""
        self._stream.log(f"{self._root}/camera/image", self._rerun.Image(np.asarray(image)).compress())

    def camera(self, pose: NDArray[np.float64]) -> None:
        """Move the camera to a pose (4, 4), camera-to-world, OpenCV axes."""
        transform = self._rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3])
        self._stream.log(f"{self._root}/camera", transform)
        self._path = [*self._path[1 - _LONGEST_PATH :], pose[:3, 3]]
        self._stream.log(f"{self._root}/path", self._rerun.LineStrips3D([np.array(self._path)]))

    def points(self, step: int, points: NDArray, colors: NDArray[np.uint8]) -> None:
        """Add points (P, 3) with colours (P, 3) RGB; one entity per step, so that the viewer keeps earlier ones."""
        self._stream.log(f"{self._root}/points/{step:05d}", self._rerun.Points3D(points, colors=colors))

    def say(self, text: str) -> None:
        """Write a line to the log."""
        self._stream.log("state", self._rerun.TextLog(text))

    def close(self) -> None:
        """Flush pending data."""
        self._stream.flush()
        self._stream.disconnect()

    def _view_coordinates(self, up: NDArray[np.float64] | None) -> Any:
        """Nearest of the six axis-aligned up directions that rerun supports."""
        known = self._rerun.ViewCoordinates
        if up is None:
            return known.RDF
        axis = int(np.abs(up).argmax())
        return getattr(known, f"RIGHT_HAND_{'XYZ'[axis]}_{'UP' if up[axis] > 0 else 'DOWN'}")


@contextmanager
def rerun_recording(name: str, path: Path) -> Iterator[RerunScene]:
    """Context of a scene that is written to an .rrd file, complete when the block ends."""
    scene = RerunScene(name, path)
    try:
        yield scene
    finally:
        scene.close()
