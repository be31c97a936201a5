"""Base class of the data sets of posed RGB-D scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from common.data.scenes.augment import ColorJitter, CroppedView, middle_crop, training_crop
from common.data.scenes.scene_folder import UNLABELLED, Choice, DataError, RgbdFrame, RgbdScene, SceneIndex
from common.data.scenes.windows import WindowRule
from common.views import Views

Seeding = Literal["epoch", "index"]


class WindowDataset(Dataset[Views]):
    """Windows of scenes, each a function of (seed, epoch, index) alone: the same on any machine and in any worker.

    A new data set is a subclass that says what differs: `name`, its window rule and scenes, and, by overriding
    `valid_depth` or `whole_window`, which depth is to be trusted. An item is a `Views` without a batch axis.
    """

    name = "scenes"
    """Name of the data set in messages."""

    def __init__(
        self,
        root: Path | str,
        windows: WindowRule,
        *,
        size: tuple[int, int] | int | None = 224,
        choose: Choice | None = None,
        length: int | None = None,
        crop: Literal["principal_point", "middle"] = "principal_point",
        zoom_range: int = 0,
        enlarging: Literal["lanczos", "bicubic"] = "lanczos",
        jitter: ColorJitter | None = None,
        labels: bool = False,
        seed: int = 0,
        seeding: Seeding = "epoch",
    ) -> None:
        """
        Args:
            root: folder with one folder per scene, see `common.data.scenes.scene_folder`.
            windows: which windows a scene has.
            size: (height, width) of the views, or one number for a square; None, with `crop` "middle", keeps the size
                on disk.
            choose: selects the scenes to use; None for all.
            length: items per epoch, evenly spread over the windows, or cycling through them if there are fewer; None
                for every window once.
            crop: `training_crop` about the principal point (published), or `middle_crop`.
            zoom_range: largest random zoom of `training_crop`, per view, in pixels of the side.
            enlarging: filter of `training_crop` for images that grow.
            jitter: colour augmentation; None for none.
            labels: read semantic labels where there are any.
            seed: seed of all random draws.
            seeding: "epoch" draws anew in every epoch; "index" seeds each item with seed + index, the same in every
                epoch, as published.

        Raises:
            DataError: no scenes, or none with a window.
        """
        if size is None and crop != "middle":
            raise ValueError("size=None keeps images as they are, which needs crop='middle'")
        self.scenes = SceneIndex(root, choose)
        self.windows = windows
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1]) if size else None
        self.crop, self.zoom_range, self.enlarging, self.jitter = crop, zoom_range, enlarging, jitter
        self.labels, self.seed, self.seeding = labels, seed, seeding
        self.epoch = 0
        counts = [windows.count(scene) for scene in self.scenes.scenes]
        self._ends = np.cumsum(counts, dtype=np.int64)
        self.num_windows = int(self._ends[-1])
        if self.num_windows == 0:
            raise DataError(f"no scene of {self.scenes.root} is long enough for a window of {windows}")
        self.length = self.num_windows if length is None else length

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that seeds crops, colours and random windows. Affects this process only."""
        self.epoch = epoch

    def set_size(self, size: tuple[int, int]) -> None:
        """Set the (height, width) of the views. Affects this process only."""
        self.size = size

    def __getitem__(self, index: int) -> Views:
        scene, positions, generator = self._window(index)
        positions, frames = positions.tolist(), [self._read(scene, position) for position in positions]
        self.whole_window(frames, generator)
        views = [
            self._cropped(frame, scene.intrinsics[position], generator)
            for position, frame in zip(positions, frames, strict=True)
        ]
        if self.jitter is not None:
            images = self.jitter([view.image for view in views], generator)
        else:
            images = [view.image for view in views]
        depth = np.stack([view.depth for view in views]).astype(np.float32)
        depth /= scene.depth_scale
        return Views(
            images=images_to_tensor(images),
            depth=torch.from_numpy(depth),
            camera_to_world=torch.from_numpy(scene.camera_to_world[positions]),
            intrinsics=torch.from_numpy(np.stack([view.intrinsics for view in views])),
            labels=_labels_to_tensor(views),
        )

    def describe(self, index: int) -> str:
        """Scene and frames of an item in the present epoch: ``scannetpp/0a7cc12c0e_iphone frames 10, 40, 70``."""
        scene, positions, _ = self._window(index)
        frames = ", ".join(str(number) for number in scene.numbers[positions].tolist())
        return f"{self.name}/{scene.name} frames {frames}"

    def window_of(self, index: int) -> int:
        """Window number of an item, counted over all scenes."""
        if self.length < self.num_windows:
            return index * self.num_windows // self.length
        return index % self.num_windows

    def valid_depth(self, depth: NDArray[np.uint16], scene: RgbdScene) -> NDArray[np.uint16]:
        """Stored depth (H, W) of a frame, set to 0 where it is unreliable; data sets override this."""
        return depth

    def whole_window(self, frames: list[RgbdFrame], generator: np.random.Generator) -> None:
        """Hook to change the frames of a window together, before cropping and after the window's random draws."""

    def _window(self, index: int) -> tuple[RgbdScene, NDArray[np.int64], np.random.Generator]:
        """Scene, positions of the frames in it, and the generator of an item, advanced by the draws of the window."""
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")
        generator = np.random.default_rng(
            self.seed + index if self.seeding == "index" else [self.seed, self.epoch, index]
        )
        window = self.window_of(index)
        which = int(np.searchsorted(self._ends, window, side="right"))
        scene = self.scenes[which]
        first = int(self._ends[which - 1]) if which else 0
        return scene, np.asarray(self.windows.frames(scene, window - first, generator)), generator

    def _read(self, scene: RgbdScene, position: int) -> RgbdFrame:
        frame = scene.read(int(position), labels=self.labels, mask=self.needs_masks)
        frame.depth = self.valid_depth(frame.depth, scene)
        return frame

    @property
    def needs_masks(self) -> bool:
        """Whether foreground masks are to be read."""
        return False

    def _cropped(
        self, frame: RgbdFrame, intrinsics: NDArray[np.float32], generator: np.random.Generator
    ) -> CroppedView:
        if self.crop == "middle":
            size = self.size or frame.depth.shape
            return middle_crop(frame.image, frame.depth, intrinsics, (size[0], size[1]), frame.labels)
        assert self.size is not None
        return training_crop(
            frame.image,
            frame.depth,
            intrinsics,
            self.size,
            generator,
            self.zoom_range,
            frame.labels,
            enlarging=self.enlarging,
        )


def of_split(split: str | None) -> Choice:
    """Filter for the scenes whose attributes name the split, as ``split`` or among ``splits``; None keeps all."""

    def choose(scenes: list[RgbdScene]) -> list[RgbdScene]:
        return [
            scene
            for scene in scenes
            if split is None or split == scene.attributes.get("split") or split in scene.attributes.get("splits", ())
        ]

    return choose


def images_to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    """Images (H, W, 3) uint8 RGB as (V, 3, H, W) float32 in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return stacked.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1)


def _labels_to_tensor(views: list[CroppedView]) -> torch.Tensor | None:
    """(V, H, W) int64; None where no view has labels, unlabelled where some have none."""
    if all(view.labels is None for view in views):
        return None
    columns = [np.full(view.depth.shape, UNLABELLED) if view.labels is None else view.labels for view in views]
    return torch.from_numpy(np.stack(columns).astype(np.int64))
