"""The camera of a new picture: given, that of the run, from EXIF, or to be estimated with the pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL import Image

from common.errors import InputError
from common.known.cameras import KnownCameras
from common.refinement.pictures import exif_camera
from common.refinement.types import Camera
from slam3r.continuation.finished_run import RunFrame, scaled_camera

Origin = Literal["cameras", "focal", "run", "exif", "estimated"]

_EXIF_IFD, _EXIF_FOCAL_35MM = 0x8769, 0xA405
_DIAGONAL_35MM = (24**2 + 36**2) ** 0.5
_START = 1.2
"""Focal length over the longer side, where nothing is known."""


@dataclass(frozen=True)
class QueryCamera:
    """The camera of a new picture."""

    camera: Camera
    """In working pixels; a guess where the origin is exif or estimated."""
    origin: Origin

    @property
    def is_known(self) -> bool:
        """Only the pose is to be found."""
        return self.origin in ("cameras", "focal", "run")

    def of_unknown_focal(self) -> QueryCamera:
        """The same camera, but for its focal length, which is to be found; it has no distortion."""
        return QueryCamera(replace(self.camera, k1=0.0, known=False), "estimated")


class QueryCameras:
    """Finds the cameras of new pictures.

    Args:
        frames: of the run.
        known: cameras that the user has; None for none.
        focal: focal length that the user gives, pixels of the pictures; None for none.
    """

    def __init__(
        self, frames: Sequence[RunFrame], known: KnownCameras | None = None, focal: float | None = None
    ) -> None:
        self._known, self._focal = known, focal
        self._own: dict[tuple, RunFrame] = {}
        for frame in frames:
            self._own.setdefault((*frame.size, *exif_camera(frame.file)), frame)

    def of(self, name: str, path: Path | None, original: tuple[int, int], size: tuple[int, int]) -> QueryCamera:
        """The camera of a picture of (height, width) `original`, in pixels of the working picture of `size`.

        Raises:
            InputError: the given camera is that of another picture.
        """
        if self._known is not None:
            found = self._known.find(name)
            lens_of = self._known.only_lens if found is None else found.lens_of
            if lens_of is None:
                raise InputError(f"{name}: {self._known.why_missing(name)}")
            try:
                lens = lens_of(original)
            except ValueError as error:
                raise InputError(f"{self._known.origin}: {name}: {error}") from error
            if not lens.is_straight:
                raise InputError(f"{self._known.origin}: {name}: its lens has distortion; undistort the picture first")
            return QueryCamera(scaled_camera(lens.matrix, 0.0, original, size), "cameras")
        height, width = size
        centre, scale = ((width - 1) / 2, (height - 1) / 2), width / original[1]
        if self._focal is not None:
            return QueryCamera(Camera(scale * self._focal, scale * self._focal, *centre, size, known=True), "focal")
        if (frame := self._own.get((*original, *exif_camera(path)))) is not None:
            return QueryCamera(frame.camera(size), "run")
        if (focal := _exif_focal(path, original)) is not None:
            return QueryCamera(Camera(scale * focal, scale * focal, *centre, size), "exif")
        start = _START * max(size)
        return QueryCamera(Camera(start, start, *centre, size), "estimated")


def _exif_focal(path: Path | None, size: tuple[int, int]) -> float | None:
    """Focal length in pixels by EXIF's equivalent on 35 mm film; None where it has none."""
    if path is None:
        return None
    try:
        with Image.open(path) as file:
            equivalent = float(file.getexif().get_ifd(_EXIF_IFD).get(_EXIF_FOCAL_35MM, 0))
    except (OSError, ValueError, SyntaxError, TypeError):
        return None
    if not 5 < equivalent < 1000:
        return None
    return equivalent / _DIAGONAL_35MM * (size[0] ** 2 + size[1] ** 2) ** 0.5
