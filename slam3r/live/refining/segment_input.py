"""Input for the refinement of a segment: gathered in bounded memory, and written to a file for another process."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import InputError
from common.files import atomic_path
from common.refinement.types import Camera, Picture, Prediction
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.scene.refinement_input import RefinementInput

logger = logging.getLogger(__name__)


class SegmentInput:
    """Keeps pictures and predictions of at most so many frames of a segment, spread evenly over it.

    Memory: about 1.1 MB a frame of 640 x 480 pixels with networks of 224 x 224, so 330 MB for 300 frames; twice that
    while it is written. When there are more, every second one goes.
    """

    def __init__(self, most: int, intrinsics: Tensor | None) -> None:
        """
        Args:
            most: frames to keep, at least 2.
            intrinsics: (3, 3) network pixels where the camera is calibrated.
        """
        self._most, self.intrinsics = most, intrinsics
        self._step = 1
        self._held = RefinementInput(long_side=0)
        self._times: dict[int, float] = {}

    def keep(self, index: int, picture: Picture) -> None:
        """Take the picture of a frame that was pushed."""
        if index % self._step == 0:
            self._held.keep_picture(index, picture)

    def add(self, frame: RegisteredFrame) -> None:
        """Take a registered frame whose picture may be held."""
        if frame.index % self._step:
            return
        self._held.add(frame)
        self._times[frame.index] = frame.timestamp
        while len(self._held.frames) > self._most:
            self._step *= 2
            self._held.thin(self._step)

    def drop(self, index: int) -> None:
        """Forget a frame that came to nothing."""
        self._held.forget(index)

    def __len__(self) -> int:
        return len(self._held.frames)

    def spool(self, path: Path) -> bool:
        """Write all to one file; returns whether it is there. Two frames are the least that can be refined, and a full
        disk, which is reported, costs the refinement and nothing else."""
        if len(self) < 2:
            return False
        try:
            self._write(path)
            return True
        except (OSError, InputError) as error:
            logger.error("a segment will not be refined: %s", error)
            return False

    def _write(self, path: Path) -> None:
        frames, pictures, word = self._held.frames, self._held.pictures(), self._held.prediction()
        arrays: dict[str, NDArray] = {
            "times": np.array([self._times[index] for index in frames], np.float64),
            "colors": np.stack([self._held.colors(index) for index in frames]),
            "camera": np.array([picture.camera for picture in pictures], np.int64),
            "original_size": np.array([picture.original_size for picture in pictures], np.int64),
            "network_from_working": np.stack([picture.network_from_working.numpy() for picture in pictures]),
            **{name: getattr(word, name).numpy() for name in _WORD},
        }
        if self.intrinsics is not None:
            arrays["calibrated"] = self.intrinsics.double().numpy()
        arrays |= {f"picture_{row}": picture.image.numpy() for row, picture in enumerate(pictures)}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


_WORD = ("depth", "valid", "confidence", "camera_to_world", "intrinsics")


@dataclass(frozen=True)
class SpooledSegment:
    """A segment's input as another process reads it."""

    pictures: list[Picture]
    prediction: Prediction
    times: NDArray[np.float64]
    """(N,) timestamps, seconds."""
    colors: NDArray[np.uint8]
    """(N, H, W, 3) RGB of the network images."""
    cameras: list[Camera | None]
    """The calibrated camera for each physical one; None where it is to be estimated."""


def read_segment_input(path: Path) -> SpooledSegment:
    """Read what `SegmentInput.spool` wrote; nothing in it is unpickled."""
    with np.load(path, allow_pickle=False) as file:
        count = len(file["times"])
        pictures = [
            Picture(
                torch.from_numpy(file[f"picture_{row}"]),
                (int(file["original_size"][row, 0]), int(file["original_size"][row, 1])),
                int(file["camera"][row]),
                torch.from_numpy(file["network_from_working"][row]),
                str(row),
            )
            for row in range(count)
        ]
        prediction = Prediction(*(torch.from_numpy(file[name]) for name in _WORD))
        calibrated = file["calibrated"] if "calibrated" in file.files else None
        return SpooledSegment(pictures, prediction, file["times"], file["colors"], _cameras(pictures, calibrated))


def _cameras(pictures: Sequence[Picture], calibrated: NDArray[np.float64] | None) -> list[Camera | None]:
    first = {picture.camera: picture for picture in reversed(pictures)}
    return [_camera(first[number], calibrated) for number in sorted(first)]


def _camera(picture: Picture, calibrated: NDArray[np.float64] | None) -> Camera | None:
    """A calibration in network pixels as the camera of a working picture."""
    if calibrated is None:
        return None
    matrix = np.linalg.inv(picture.network_from_working.numpy()) @ calibrated
    return Camera(
        float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2]), picture.size, known=True
    )
