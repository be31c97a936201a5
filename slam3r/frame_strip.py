"""A picture of some frames: what the camera saw, how deep the network thinks it is, and how sure it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from common.data.preprocess import denormalize
from slam3r.reconstruction.frames import RegisteredFrame

_MARGIN, _CAPTION = 6, 22
_BACKGROUND, _INK = (255, 255, 255), (40, 40, 40)


@dataclass(frozen=True)
class StripFrame:
    """One column of the picture."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, network pixels."""
    depth: NDArray[np.float32]
    """(H, W) along the optical axis, in the unit of the world or an arbitrary one; 0 where unknown."""
    confidence: NDArray[np.float32]
    """(H, W) of the registration."""


class StripRecorder:
    """A sink that keeps a few frames spread evenly over a sequence of unknown length."""

    def __init__(self, count: int = 6) -> None:
        """
        Args:
            count: frames to show; up to twice as many are held.
        """
        self.count = count
        self._step = 1
        self._held: list[tuple[int, StripFrame]] = []

    def add(self, frame: RegisteredFrame) -> None:
        """Keep a frame if its turn has come; when there are too many, every second one goes."""
        if frame.index % self._step:
            return
        image, confidence = denormalize(frame.image).numpy(), frame.world_confidence.float().numpy().copy()
        self._held.append((frame.index, StripFrame(frame.name, image, frame_depth(frame), confidence)))
        if len(self._held) > 2 * self.count:
            self._step *= 2
            self._held = [(index, kept) for index, kept in self._held if index % self._step == 0]

    def close(self) -> None:
        """Nothing to do."""

    @property
    def frames(self) -> list[StripFrame]:
        """At most `count`, from the first to the last held."""
        chosen = np.unique(np.linspace(0, len(self._held) - 1, min(self.count, len(self._held))).round().astype(int))
        return [self._held[i][1] for i in chosen]


def frame_depth(frame: RegisteredFrame) -> NDArray[np.float32]:
    """(H, W) depth of a registered frame: by its pose, else of its own pointmap, else zeros."""
    points = frame.world_points.float().numpy()
    if frame.camera_to_world is not None:
        pose = frame.camera_to_world.double().numpy()
        depth = (points - pose[:3, 3]) @ pose[:3, 2]
        known = (points != 0).any(axis=-1)
    elif frame.local_points is not None:
        depth = frame.local_points[..., 2].float().numpy()
        known = np.ones(depth.shape, bool)
    else:
        return np.zeros(points.shape[:2], np.float32)
    return np.where(known & np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


def draw_strip(frames: Sequence[StripFrame]) -> NDArray[np.uint8]:
    """A column per frame: image, depth (near is warm), confidence (sure is bright; one scale for all frames).

    Args:
        frames: at least one, of equal size.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    highest = max(float(np.quantile(frame.confidence, 0.98)) for frame in frames)
    height, width = frames[0].image.shape[:2]
    columns = [
        [frame.image, _color_depth(frame.depth), _color_confidence(frame.confidence, highest)] for frame in frames
    ]
    rows = len(columns[0])
    size = (_CAPTION + rows * (height + _MARGIN) + _MARGIN, len(frames) * (width + _MARGIN) + _MARGIN, 3)
    canvas = np.full(size, _BACKGROUND, np.uint8)
    for i, (frame, column) in enumerate(zip(frames, columns, strict=True)):
        left = _MARGIN + i * (width + _MARGIN)
        name = frame.name.rsplit("/", 1)[-1]
        caption = f"{name[-18:]}  {frame.confidence.mean():.1f}"
        place = (left, _CAPTION - 6)
        cv2.putText(canvas, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
        for j, tile in enumerate(column):
            top = _CAPTION + j * (height + _MARGIN)
            canvas[top : top + height, left : left + width] = tile
    return canvas


def _color_depth(depth: NDArray) -> NDArray[np.uint8]:
    """Inverse depth between its 2nd and 98th percentile; grey where unknown."""
    known = depth > 0
    if not known.any():
        return np.full((*depth.shape, 3), 128, np.uint8)
    inverse = np.where(known, 1 / np.where(known, depth, 1), 0)
    low, high = np.quantile(inverse[known], [0.02, 0.98])
    shade = np.clip((inverse - low) / max(high - low, 1e-12), 0, 1)
    picture = _color(shade, cv2.COLORMAP_TURBO)
    picture[~known] = 128
    return picture


def _color_confidence(confidence: NDArray, highest: float) -> NDArray[np.uint8]:
    """Logarithm of the confidence, from 1 to the highest."""
    shade = np.log(np.maximum(confidence, 1)) / max(np.log(max(highest, 1)), 1e-6)
    return _color(np.clip(shade, 0, 1), cv2.COLORMAP_VIRIDIS)


def _color(shade: NDArray, palette: int) -> NDArray[np.uint8]:
    values = (shade * 255).round().astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(values, palette), cv2.COLOR_BGR2RGB), np.uint8)
