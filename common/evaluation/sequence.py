"""RGB-D sequences with known poses, as benchmarks take them: frames to reconstruct, depth and cameras to score with.

Two layouts are read: the one that ``data_process`` writes (and its plain form with intrinsics.txt and pose/), and
Replica as rendered for iMAP and NICE-SLAM, which needs no processing. For 7-Scenes, TUM RGB-D and ScanNet, whose depth
must be registered or undistorted first, run ``python -m data_process.<name>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.data.scenes.replica_files import TRAJECTORY, ReplicaCamera, read_camera, read_trajectory
from common.data.scenes.scene_folder import DataError, RgbdScene, SceneIndex, read_pixels
from common.data.sources.frame_source import Frame, FrameSource
from common.errors import InputError
from common.ranges import Count, CountOrZero


class SequenceReader(Protocol):
    """A scene on disk, in any layout."""

    @property
    def name(self) -> str: ...
    @property
    def numbers(self) -> NDArray[np.int64]:
        """(N,) numbers of the frames in the recording, increasing."""

    @property
    def camera_to_world(self) -> NDArray:
        """(N, 4, 4), OpenCV axes, metres."""

    @property
    def intrinsics(self) -> NDArray:
        """(N, 3, 3) of images and depth, pixels, centre of the top left pixel at (0, 0)."""

    def image(self, position: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""

    def depth(self, position: int) -> NDArray[np.float32]:
        """(H, W) metres along z, 0 invalid."""


class ProcessedReader:
    """A scene in the layout of ``data_process``."""

    def __init__(self, scene: RgbdScene) -> None:
        self._scene = scene
        self.name = scene.name

    @property
    def numbers(self) -> NDArray[np.int64]:
        return self._scene.numbers

    @property
    def camera_to_world(self) -> NDArray:
        return self._scene.camera_to_world

    @property
    def intrinsics(self) -> NDArray:
        return self._scene.intrinsics

    def image(self, position: int) -> NDArray[np.uint8]:
        return read_pixels(self._scene.folder / "color" / f"{self._scene.frames[position]}.jpg", np.uint8, 3)

    def depth(self, position: int) -> NDArray[np.float32]:
        file = self._scene.folder / "depth" / f"{self._scene.frames[position]}.png"
        return read_pixels(file, np.uint16, 1).astype(np.float32) / np.float32(self._scene.depth_scale)


class ReplicaReader:
    """A room of the Replica renders: ``traj.txt`` and ``results/{frame,depth}000000``, beside ``cam_params.json``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = folder.name

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        found = (re.fullmatch(r"frame(\d+)\.jpg", path.name) for path in (self._folder / "results").iterdir())
        numbers = sorted(int(match[1]) for match in found if match)
        if not numbers or numbers[-1] >= len(self._trajectory):
            raise DataError(f"{self._folder}: {len(numbers)} frames for {len(self._trajectory)} lines of traj.txt")
        return np.array(numbers)

    @cached_property
    def _trajectory(self) -> NDArray[np.float64]:
        return read_trajectory(self._folder)

    @property
    def camera_to_world(self) -> NDArray:
        return self._trajectory[self.numbers]

    @property
    def intrinsics(self) -> NDArray:
        return np.tile(self._camera.intrinsics, (len(self.numbers), 1, 1))

    @cached_property
    def _camera(self) -> ReplicaCamera:
        return read_camera(self._folder.parent)

    def image(self, position: int) -> NDArray[np.uint8]:
        return read_pixels(self._folder / "results" / f"frame{self.numbers[position]:06d}.jpg", np.uint8, 3)

    def depth(self, position: int) -> NDArray[np.float32]:
        file = self._folder / "results" / f"depth{self.numbers[position]:06d}.png"
        return read_pixels(file, np.uint16, 1).astype(np.float32) / np.float32(self._camera.depth_scale)


def open_readers(root: Path, split: str | None = None) -> list[SequenceReader]:
    """All sequences below a folder, or the one that the folder itself is, in the order of their names.

    Args:
        root: folder of a data set or of one scene.
        split: only scenes whose attributes say so; None for all.

    Raises:
        InputError: there are none.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give benchmark.path=DIR")
    if any((root / name).is_file() for name in ("cameras.npz", "intrinsics.txt")):
        return [ProcessedReader(RgbdScene(root))]
    replica = [file.parent for pattern in (TRAJECTORY, f"*/{TRAJECTORY}") for file in sorted(root.glob(pattern))]
    if replica:
        return [ReplicaReader(folder) for folder in replica]
    try:
        scenes = SceneIndex(root).scenes
    except DataError as error:
        raise InputError(
            f"{error}; 7-Scenes, TUM RGB-D, ScanNet and others come into this layout with "
            "`python -m data_process.<name> raw=DIR output=DIR`"
        ) from None
    chosen = [scene for scene in scenes if split in (None, scene.attributes.get("split"))]
    if not chosen:
        raise InputError(f"none of the {len(scenes)} scenes of {root} has the split {split!r}")
    return [ProcessedReader(scene) for scene in chosen]


@dataclass(frozen=True)
class FrameChoice:
    """Choice of the frames of a sequence that take part."""

    every: Count = 1
    """Take every n-th frame."""
    first: CountOrZero = 0
    """Number of frames to skip at the beginning."""
    most: Count | None = None
    """Largest number of frames; None for all."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.first < 0 or (self.most is not None and self.most < 2):
            raise ValueError("every must be 1 or more, first not negative, most 2 or more (or null)")

    def positions(self, count: int) -> NDArray[np.int64]:
        """(n,) of `count` frames."""
        return np.arange(count)[self.first :: self.every][: self.most]


class RgbdSequence(FrameSource):
    """Chosen frames of a reader; as a source, it gives their pictures in order."""

    def __init__(self, reader: SequenceReader, choice: FrameChoice, fps: float = 30.0) -> None:
        """
        Args:
            reader: of the whole recording.
            choice: of frames.
            fps: frames per second of the recording, for timestamps.

        Raises:
            DataError: fewer than two frames are left.
        """
        super().__init__()
        self.name, self._reader = reader.name, reader
        self.positions = choice.positions(len(reader.numbers))
        if len(self.positions) < 2:
            raise DataError(f"{reader.name}: {len(self.positions)} of {len(reader.numbers)} frames chosen, 2 needed")
        self.numbers = np.asarray(reader.numbers)[self.positions]
        """(n,) of the frames in the recording."""
        self.timestamps = self.numbers / fps
        """(n,) seconds."""
        self.camera_to_world = np.asarray(reader.camera_to_world, np.float64)[self.positions]
        """(n, 4, 4), OpenCV axes, metres."""
        self.intrinsics = np.asarray(reader.intrinsics, np.float64)[self.positions]
        """(n, 3, 3), pixels of the stored images."""

    @property
    def length(self) -> int:
        return len(self.positions)

    def depth(self, index: int) -> NDArray[np.float32]:
        """(H, W) metres along z of a chosen frame, 0 invalid."""
        return self._reader.depth(int(self.positions[index]))

    def __iter__(self) -> Iterator[Frame]:
        for index, (position, number, time) in enumerate(zip(self.positions, self.numbers, self.timestamps)):
            yield Frame(self._reader.image(int(position)), index, float(time), f"{number:06d}")


def choose_scenes(readers: Sequence[SequenceReader], wanted: Sequence[str] | None) -> list[SequenceReader]:
    """Readers by name, in the order asked for; None for all.

    Raises:
        InputError: a name is not among them.
    """
    if wanted is None:
        return list(readers)
    by_name = {reader.name: reader for reader in readers}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise InputError(f"benchmark.scenes: no {', '.join(missing)} among {', '.join(by_name)}")
    return [by_name[name] for name in wanted]
