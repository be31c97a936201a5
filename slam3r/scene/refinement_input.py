"""Input of refinement, gathered during a run: the images, and the network's prediction for every frame."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.data.sources.frame_source import Frame
from common.data.sources.preprocess import Preprocessed
from common.known.depths import resized_mask
from common.refinement.pictures import WorkingPictures, renumbered, working_camera
from common.refinement.types import Camera, Picture, Prediction
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.scene.known.input import KnownFrame


@dataclass(frozen=True)
class _Word:
    """The network's prediction for one frame."""

    depth: Tensor
    valid: Tensor
    confidence: Tensor
    colors: Tensor
    camera_to_world: Tensor
    intrinsics: Tensor


class RefinementInput:
    """A sink that also takes the pictures, in the thread that reads them.

    Memory: 0.6 MB a frame of 224 x 224 and a byte per pixel of the gray working pictures, so about 1 GB for 1,000
    frames of 640 x 480.
    """

    def __init__(self, long_side: int, most: int | None = None, sparse: bool = False) -> None:
        """
        Args:
            long_side: longer side of the working pictures, pixels, at most.
            most: largest number of frames to keep, in groups of neighbours spread over the run; None keeps all.
            sparse: only some of the frames that are read get a pointmap; which ones is known when they are registered.
        """
        self._most, self._sparse = most, sparse
        self.unit = 1.0
        """Factor on the network's depths in `prediction`, once the world's unit is known to be another one."""
        self._lock = threading.Lock()
        self._stride = 1
        self._read = 0
        self.others: dict[int, KnownFrame] = {}
        """Known cameras of the frames without a pointmap, by their index."""
        self._order: dict[int, int] = {}
        """Number of a frame among those with a pointmap, of sparse runs."""
        self._pictures: dict[int, Picture] = {}
        self._words: dict[int, _Word] = {}
        self._known: dict[int, KnownFrame] = {}
        self._working = WorkingPictures(long_side)

    def keep(self, frame: Frame, prepared: Preprocessed, known: KnownFrame | None = None) -> None:
        """Take the picture of the next frame that will be pushed, and what the user knows of it."""
        index, self._read = self._read, self._read + 1
        if self._wanted(index):
            lens = None if known is None else known.lens
            picture = self._working.of(frame.image, prepared.original_from_network, frame.name, frame.path, lens)
            if known is not None and known.mask is not None:
                picture = replace(picture, mask=resized_mask(known.mask, picture.size))
            with self._lock:
                self._pictures[index] = picture
                self._known[index] = KnownFrame() if known is None else replace(known, mask=None)  # the picture has it
                self._thin_out()

    def keep_picture(self, index: int, picture: Picture) -> None:
        """Take a picture that is prepared already, of the frame of this index."""
        with self._lock:
            self._read = max(self._read, index + 1)
            self._pictures[index] = picture

    def thin(self, step: int) -> None:
        """Keep only frames whose index is a multiple of `step`."""
        with self._lock:
            self._pictures = {index: kept for index, kept in self._pictures.items() if index % step == 0}
            self._words = {index: kept for index, kept in self._words.items() if index % step == 0}

    def forget(self, index: int) -> None:
        """Drop a frame."""
        with self._lock:
            for held in (self._pictures, self._words, self._known):
                held.pop(index, None)

    def add(self, frame: RegisteredFrame) -> None:
        """Take a registered frame; of one without a pointmap, only its known camera is kept."""
        if not frame.has_pointmap:
            known = self._known.get(frame.index, KnownFrame())
            self.others[frame.index] = KnownFrame(intrinsics=known.intrinsics, camera_to_world=known.camera_to_world)
            return self.forget(frame.index)
        if self._sparse:
            self._order[frame.index] = len(self._order)
        if not self._wanted(frame.index):
            return self.forget(frame.index)
        depth = frame.depth()
        if depth is None:  # without a pose, the local shape is still useful
            local = frame.local_points
            depth = torch.zeros(frame.valid.shape) if local is None else local[..., 2].float()
        pose = frame.camera_to_world
        word = _Word(
            depth,
            frame.valid & (depth > 0) & torch.isfinite(depth),
            frame.world_confidence.float(),
            frame.colors,
            torch.full((4, 4), torch.nan) if pose is None else pose.float(),
            frame.intrinsics.float(),
        )
        with self._lock:
            self._words[frame.index] = word
            self._thin_out()

    def close(self) -> None:
        """Nothing to do."""

    @property
    def frames(self) -> list[int]:
        """Registered frames whose pictures are held, in order."""
        return sorted(self._pictures.keys() & self._words.keys())

    @property
    def complete(self) -> bool:
        """Every frame that was read, and has a pointmap, is held."""
        return len(self._pictures) + len(self.others) == self._read

    def pictures(self) -> list[Picture]:
        """Pictures of `frames`, their cameras numbered without gaps."""
        chosen = [self._pictures[index] for index in self.frames]
        return renumbered(chosen)

    def prediction(self) -> Prediction:
        """The network's predictions for `frames`."""
        words = [self._words[index] for index in self.frames]
        return Prediction(
            torch.stack([self.unit * word.depth for word in words]),
            torch.stack([word.valid for word in words]),
            torch.stack([word.confidence for word in words]),
            torch.stack([word.camera_to_world for word in words]),
            torch.stack([word.intrinsics for word in words]),
        )

    def cameras(self) -> list[Camera | None]:
        """Known cameras by the numbers of `pictures`; None for those to estimate."""
        cameras: dict[int, Camera | None] = {}
        for index, picture in zip(self.frames, self.pictures()):
            intrinsics = self._known[index].intrinsics
            cameras.setdefault(picture.camera, None if intrinsics is None else working_camera(intrinsics, picture))
        return [cameras[number] for number in range(len(cameras))]

    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) known poses of `frames`, NaN where a frame has none."""
        unknown = np.full((4, 4), np.nan)
        poses = [self._known[index].camera_to_world for index in self.frames]
        return np.array([unknown if pose is None else pose for pose in poses]).reshape(-1, 4, 4)

    def depths(self) -> Tensor | None:
        """(N, H, W) measured depths of `frames`, 0 where there is none; None without any."""
        maps = [self._known[index].depth for index in self.frames]
        if all(depth is None for depth in maps):
            return None
        nothing = torch.zeros(self._words[self.frames[0]].depth.shape)
        return torch.stack([nothing if depth is None else depth for depth in maps])

    def usable(self, frame: int) -> Tensor | None:
        """(H, W) bool, the mask of a frame that is held; None where it has none."""
        return self._known[frame].usable

    def colors(self, frame: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB network image of a frame that is held."""
        return self._words[frame].colors.numpy()

    def _wanted(self, index: int) -> bool:
        number = self._order.get(index) if self._sparse else index
        return number is None or number % self._stride in (0, 1, 3) or self._stride == 1

    def _thin_out(self) -> None:
        """Keep fewer frames, if those whose number is known are too many."""
        while self._most is not None and self._num_counted() > self._most:
            self._stride = 4 if self._stride == 1 else 2 * self._stride
            self._pictures = {index: kept for index, kept in self._pictures.items() if self._wanted(index)}
            self._words = {index: kept for index, kept in self._words.items() if self._wanted(index)}
            self._known = {index: kept for index, kept in self._known.items() if self._wanted(index)}

    def _num_counted(self) -> int:
        return len(self._words) if self._sparse else len(self._pictures)
