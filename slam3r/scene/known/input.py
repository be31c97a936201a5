"""Knowledge of the user about the frames, gathered while they are read: cameras, depths, masks, markers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.data.sources.frame_source import Frame, FrameSource
from common.data.sources.image_files import ImageFileSource
from common.data.sources.preprocess import Preprocessed, preprocess
from common.errors import ConfigurationError, InputError
from common.geometry.calibration import Calibration
from common.known.cameras import KnownCamera, KnownCameras, LensOf, Straighteners
from common.known.depths import Depths, covering_values, to_grid
from common.known.markers import MarkerFinder, Sighting
from common.known.masks import MaskFolder
from common.known.settings import KnownSettings, ScaleSettings
from common.refinement.given import LEAST_POSES

_NAMED = 3


@dataclass(frozen=True)
class KnownFrame:
    """Knowledge about one frame."""

    lens: LensOf | None = None
    """Tells cameras apart; None where the lens is not known."""
    intrinsics: NDArray[np.float64] | None = None
    """(3, 3) in pixels of the (straight) picture; None where they are not known."""
    camera_to_world: NDArray[np.float64] | None = None
    """(4, 4) OpenCV axes; None where it is not known."""
    depth: Tensor | None = None
    """(H, W) float32 metres on the network's grid, 0 where nothing was measured."""
    mask: NDArray[np.bool_] | None = None
    """(h, w) True where the picture may be used, at its own resolution."""
    usable: Tensor | None = None
    """(H, W) bool, the mask on the network's grid."""
    markers: tuple[Sighting, ...] = ()
    """In pixels of the picture."""


@dataclass(frozen=True)
class Known:
    """Everything that the user knows, opened and checked."""

    cameras: KnownCameras | None = None
    calibration: Calibration | None = None
    depths: Depths | None = None
    masks: MaskFolder | None = None
    settings: KnownSettings = field(default_factory=KnownSettings)
    scale: ScaleSettings = field(default_factory=ScaleSettings)

    def __post_init__(self) -> None:
        if self.cameras is not None and self.calibration is not None and self.cameras.have_lenses:
            raise ConfigurationError(f"camera: {self.cameras.origin} has intrinsics already; give one of the two")
        fixers = [
            name
            for name, is_given in (
                ("cameras (known.poses=ignore takes their intrinsics alone)", self.has_poses),
                ("depths", self.depths is not None),
                ("scale", self.scale.is_given),
            )
            if is_given
        ]
        if self.scale.is_given and len(fixers) > 1:
            raise ConfigurationError(f"the unit of length is given more than once: by {' and by '.join(fixers)}")
        if self.scale.marker is not None:
            MarkerFinder(self.scale.dictionary)

    @property
    def has_poses(self) -> bool:
        """Poses are known and used."""
        return self.cameras is not None and self.settings.poses != "ignore"

    @property
    def is_anything(self) -> bool:
        """Something is known."""
        given = (self.cameras, self.calibration, self.depths, self.masks)
        return self.scale.is_given or any(item is not None for item in given)

    @property
    def undistorts(self) -> bool:
        """Pictures lose their distortion, so that no file has their pixels."""
        lens = self.calibration
        if self.cameras is not None and not self.cameras.are_straight:
            return True
        return lens is not None and not lens.is_straight

    def check(self, source: FrameSource) -> None:
        """Compare names with those of a source, where it has names before it is read.

        Raises:
            InputError: nothing that is known belongs to any of the pictures.
        """
        names = source.names if isinstance(source, ImageFileSource) else []
        for folder in (self.depths, self.masks):
            if folder is not None:
                folder.require_any(names)
        if self.cameras is not None and names:
            found = sum(self.cameras.find(name) is not None for name in names)
            if found < (LEAST_POSES if self.has_poses else 1):
                lost = next(name for name in names if self.cameras.find(name) is None)
                raise InputError(f"{lost}: {self.cameras.why_missing(lost)}")
            if found < len(names):
                without = [name for name in names if self.cameras.find(name) is None]
                named = ", ".join(without[:_NAMED]) + (", ..." if len(without) > _NAMED else "")
                source.note(f"{len(without)} of {len(names)} pictures have no known camera and get their own ({named})")
        for name in self.scale.between or () if names else ():
            find_picture(name, names)


class KnownInput:
    """Prepares frames with what is known of them; `frames` has it in the order of reading, without depths and masks at
    the picture's resolution, which only the refinement keeps."""

    def __init__(self, known: Known, size: tuple[int, int]) -> None:
        """
        Args:
            known: what the user knows.
            size: (height, width) of the network images.
        """
        self.known = known
        self._size = size
        self._straighteners = Straighteners()
        self._markers = None if known.scale.marker is None else MarkerFinder(known.scale.dictionary)
        self._lock = threading.Lock()
        self.frames: list[KnownFrame] = []

    def prepare(self, frame: Frame) -> tuple[Frame, Preprocessed, KnownFrame]:
        """The next frame, straight where its lens is known, its network image, and what is known of it.

        Raises:
            InputError: a camera, depth map or mask is that of another picture.
        """
        known, size = self.known, (frame.image.shape[0], frame.image.shape[1])
        camera = None if known.cameras is None else known.cameras.find(frame.name)
        lens = self._lens(camera)
        depth = None if known.depths is None else known.depths.find(frame)
        mask = None if known.masks is None else known.masks.find(frame)
        intrinsics = None
        if lens is not None:
            origin = "camera" if known.cameras is None else known.cameras.origin
            straight = self._straighteners.straighten(f"{origin}: {frame.name}", lens, frame.image)
            intrinsics = straight.intrinsics
            depth = None if depth is None else self._straighteners.nearest(lens, depth, size)
            mask = None if mask is None else self._straighteners.nearest(lens, mask, size)
            frame = replace(frame, image=straight.image, path=frame.path if straight.is_original else None)
        prepared = preprocess(frame.image, self._size)
        to_original = prepared.original_from_network
        item = KnownFrame(
            lens,
            intrinsics,
            camera.camera_to_world if camera is not None and known.has_poses else None,
            None if depth is None else to_grid(depth, size, to_original, self._size),
            mask,
            None if mask is None else torch.from_numpy(covering_values(mask, size, to_original, self._size)),
            () if self._markers is None else tuple(self._markers(frame.image)),
        )
        with self._lock:
            self.frames.append(replace(item, depth=None, mask=None))
        return frame, prepared, item

    def usable(self, index: int) -> Tensor | None:
        """(H, W) bool, the mask of a frame that was prepared; None where it has none."""
        return self.frames[index].usable

    def _lens(self, camera: KnownCamera | None) -> LensOf | None:
        if self.known.calibration is not None:
            return self._calibrated
        if camera is not None:
            return camera.lens_of
        return None if self.known.cameras is None else self.known.cameras.only_lens

    def _calibrated(self, size: tuple[int, int]) -> Calibration:
        assert self.known.calibration is not None
        return self.known.calibration.scaled(size)


def find_picture(name: str, names: Sequence[str]) -> int:
    """Index of the picture of a name, its ending and folder optional.

    Raises:
        InputError: there is none.
    """
    bare = [candidate.rsplit("/", 1)[-1].rsplit(".", 1)[0] for candidate in names]
    for candidates in (list(names), bare):
        if name in candidates:
            return candidates.index(name)
    raise InputError(f"scale.between: no picture is called {name}; they are called like {names[0]}")
