"""A film of a map that grows frame by frame, drawn off-screen on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.drawing.preview import PreviewStage
from common.drawing.settings import FilmSettings
from common.drawing.video import video_writer
from common.files import atomic_path
from common.progress import ProgressReporter

_GIF_COLORS = 128
"""Hardly visible against 256 colours, and a sixth smaller."""


@dataclass
class GrowingMap:
    """Points with the step in which each was added."""

    points: NDArray[np.float32]
    """(P, 3) world, finite."""
    colors: NDArray[np.uint8]
    """(P, 3) RGB."""
    step: NDArray[np.int64]
    """(P,) from 0 to N - 1."""
    camera_to_world: NDArray[np.float64]
    """(N, 4, 4); NaN where no pose is known; the last known one is then shown."""
    images: NDArray[np.uint8]
    """(N, H, W, 3) RGB."""


def film_frames(growing: GrowingMap, settings: FilmSettings) -> Iterator[NDArray[np.uint8]]:
    """Yield (height, width, 3) RGB frames, one per step, then those of the finished map.

    Disc sizes are computed from the whole map, so surfaces do not change size while it grows; the viewpoint rotates
    slowly about the up axis of the cameras.
    """
    known: NDArray[np.bool_] = np.asarray(np.isfinite(growing.camera_to_world).all(axis=(1, 2)))
    poses = growing.camera_to_world[known] if known.any() else np.eye(4)[None]
    stage = PreviewStage(growing.points, growing.colors, poses, settings.size, settings.style)
    total = len(known) + settings.rest
    for number in range(total):
        step = min(number, len(known) - 1)
        cameras = max(1, int(known[: step + 1].sum()))
        viewpoint = stage.turned(settings.turn * (number / max(1, total - 1) - 0.5))
        image = stage.draw(growing.step <= step, cameras, viewpoint)
        if settings.picture and number < len(known):
            _inset(image, growing.images[step], settings.picture)
        yield image


def write_film(path: Path, growing: GrowingMap, settings: FilmSettings, progress: bool = True) -> None:
    """Write an MP4, or a GIF if the name ends so.

    Raises:
        ValueError: another suffix.
    """
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise ValueError(f"a film is an .mp4 or a .gif, got {path.name}")
    total = len(growing.camera_to_world) + settings.rest
    with ProgressReporter("film", total, "frame", show=progress) as reporter:
        frames = reporter.over(film_frames(growing, settings))
        if path.suffix.lower() == ".mp4":
            with video_writer(path, settings.size, settings.fps) as write:
                for frame in frames:
                    write(frame)
        else:
            _write_gif(path, [Image.fromarray(frame) for frame in frames], settings.fps)


def _write_gif(path: Path, pictures: list[Image.Image], fps: float) -> None:
    # One palette for all frames, so that colours do not flicker.
    palette = pictures[-1].quantize(_GIF_COLORS)
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    with atomic_path(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=round(1000 / fps),
            loop=0,
            optimize=True,
        )


def _inset(image: NDArray[np.uint8], picture: NDArray[np.uint8], share: float) -> None:
    """The input picture in the lower left corner, in place."""
    height = max(8, round(share * image.shape[0]))
    width = min(round(height * picture.shape[1] / picture.shape[0]), image.shape[1] // 2)
    margin = max(2, image.shape[0] // 45)
    small = cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_AREA)
    top, left = image.shape[0] - margin - height, margin
    image[top - 2 : top + height + 2, left - 2 : left + width + 2] = 255
    image[top : top + height, left : left + width] = small
