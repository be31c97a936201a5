"""Atomic writer of one scene in the processed layout (see README.md)."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.files import write_json
from data_process.errors import BadFrameError, EmptySceneError, SceneError, SceneTakenError, WriteError
from data_process.writing.frame_encoding import checked_intrinsics, checked_pose, encoded_color, png
from data_process.writing.manifest import CHECKSUMS_FILE, LAYOUT_VERSION, SCENE_FILE, Json
from data_process.writing.scene_lock import scene_lock

_EARLIER = ".old"
"""Ending of the name that an earlier scene has for the moment in which the new one takes its place."""


class SceneWriter:
    """Context manager that writes the frames of a scene under a temporary name and renames it at the end.

        with SceneWriter(output / "scene0000_00", attributes={"split": "train"}) as writer:
            writer.add(0, image, depth, camera_to_world, intrinsics)

    On an exception everything is removed; after kill -9 a folder ``.<scene>.<pid>`` remains, which readers ignore and
    the next writer of the scene removes.

    Args:
        folder: folder of the scene, which must not exist.
        depth_scale: stored units per metre. 16 bits then reach 65535 / depth_scale metres.
        jpeg_quality: quality of colour images given as pixels, 0 to 100.
        attributes: facts about the scene, for scene.json. `attributes` may be filled until the end of the block and
            `depth_scale` may be set until the first frame.
        replace: a processed scene of this name is replaced, as a whole at the end; without it, `folder` must not exist.

    Entering raises:
        SceneTakenError: another run writes the scene, or has written it.
        SceneError: something else has its name.
        WriteError: the output cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        depth_scale: float = 1000.0,
        jpeg_quality: int = 95,
        attributes: Mapping[str, Json] | None = None,
        replace: bool = False,
    ) -> None:
        self.folder, self.depth_scale, self.jpeg_quality = Path(folder), float(depth_scale), jpeg_quality
        self.attributes: dict[str, Json] = dict(attributes or {})
        self.dropped: list[tuple[int | str, str]] = []
        self._replace = replace
        self._temporary = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        self._cameras: dict[int, tuple[NDArray, NDArray, float | None]] = {}
        self._size: tuple[int, int] = (0, 0)
        self._planes = (False, False)
        self._depth_range = (np.inf, 0.0)
        self._checksums: dict[str, str] = {}
        self._bytes = 0
        self._cleanup = ExitStack()

    @property
    def num_frames(self) -> int:
        """Frames written so far."""
        return len(self._cameras)

    def __enter__(self) -> SceneWriter:
        with ExitStack() as stack:
            try:
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(scene_lock(self.folder))
                remove_leftovers(self.folder)
                if (self.folder / SCENE_FILE).exists():
                    if not self._replace:
                        raise SceneTakenError(f"{self.folder} has been written already")
                elif self.folder.exists():
                    raise SceneError(f"{self.folder} is there, but is no processed scene; move it away")
                self._temporary.mkdir()
            except OSError as error:
                raise WriteError(f"cannot write {self.folder.parent}: {error.strerror}") from error
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._cleanup:
            try:
                if kind is None:
                    self._commit()
            finally:
                shutil.rmtree(self._temporary, ignore_errors=True)

    def add(
        self,
        number: int,
        image: NDArray | bytes,
        depth: NDArray,
        camera_to_world: ArrayLike,
        intrinsics: ArrayLike,
        *,
        label: NDArray | None = None,
        mask: NDArray | None = None,
        timestamp: float | None = None,
    ) -> bool:
        """Write a frame, or drop it with a reason if it cannot be used.

        Args:
            number: number of the frame in the raw data, which names its files.
            image: (H, W, 3) uint8 RGB, or the bytes of a JPEG file, which are stored unchanged.
            depth: (H, W) metres along z, 0 (or anything not finite) invalid. Values beyond 16 bits become invalid.
            camera_to_world: (4, 4), metres, OpenCV camera axes.
            intrinsics: (3, 3), pixels, the centre of the top left pixel at (0, 0).
            label: (H, W) uint8 class, 255 unlabelled; for all frames of a scene or for none.
            mask: (H, W) uint8, 255 foreground, or bool; for all frames of a scene or for none.
            timestamp: seconds.

        Returns:
            Whether it was written: not if its pose is not finite or not rigid, its depth is empty, sizes differ or the
            JPEG is damaged.
        """
        if number in self._cameras:
            raise ValueError(f"frame {number} of {self.folder.name} comes twice")
        planes = (label is not None, mask is not None)
        if self._cameras and planes != self._planes:
            raise ValueError(f"frame {number} of {self.folder.name}: all frames have a label (a mask), or none has")
        try:
            pose, camera = checked_pose(camera_to_world), checked_intrinsics(intrinsics)
            color, size = encoded_color(image, self.jpeg_quality)
            if any(plane is not None and plane.shape != size for plane in (depth, label, mask)):
                shapes = [plane.shape for plane in (depth, label, mask) if plane is not None]
                raise BadFrameError(f"sizes differ: color {size}, depth, label or mask {shapes}")
            stored = self._stored_depth(depth)
        except BadFrameError as error:
            self.drop(number, str(error))
            return False
        name = f"{number:06d}"
        self._write(f"color/{name}.jpg", color)
        self._write(f"depth/{name}.png", png(stored))
        if label is not None:
            self._write(f"label/{name}.png", png(label.astype(np.uint8)))
        if mask is not None:
            self._write(f"mask/{name}.png", png(mask.astype(np.uint8) * 255 if mask.dtype == bool else mask))
        if not self._cameras:
            self._size, self._planes = size, planes
        self._cameras[number] = (pose, camera, timestamp)
        return True

    def drop(self, number: int | str, reason: str) -> None:
        """Record a dropped frame."""
        self.dropped.append((number, reason))

    @contextmanager
    def dropping(self, number: int | str) -> Iterator[None]:
        """Drop the frame if the block, which reads its files, raises `BadFrameError`."""
        try:
            yield
        except BadFrameError as error:
            self.drop(number, str(error))

    def _stored_depth(self, depth: NDArray) -> NDArray[np.uint16]:
        units = np.asarray(depth, np.float64) * self.depth_scale
        units = np.rint(np.where(np.isfinite(units), units, 0))
        stored = np.where((units >= 1) & (units <= 65535), units, 0).astype(np.uint16)
        valid = stored[stored > 0]
        if not valid.size:
            raise BadFrameError("no valid depth")
        low, high = self._depth_range
        self._depth_range = (min(low, valid.min() / self.depth_scale), max(high, valid.max() / self.depth_scale))
        return stored

    def _write(self, name: str, content: bytes) -> None:
        path = self._temporary / name
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise WriteError(f"cannot write {self.folder / name}: {error.strerror}") from error
        self._checksums[name] = hashlib.sha256(content).hexdigest()
        self._bytes += len(content)

    def _commit(self) -> None:
        """Write the summary files, and rename the folder."""
        if not self._cameras:
            if not self.dropped:
                raise EmptySceneError(f"{self.folder.name}: there are no frames")
            reasons = sorted({reason for _, reason in self.dropped})
            raise SceneError(f"{self.folder.name}: no usable frame ({'; '.join(reasons)})")
        self._write("cameras.npz", self._packed_cameras())
        lines = "".join(f"{checksum}  {name}\n" for name, checksum in sorted(self._checksums.items()))
        self._write(CHECKSUMS_FILE, lines.encode())
        try:
            write_json(self._temporary / SCENE_FILE, self._facts())
            if self._replace and self.folder.exists():
                self._take_place()
            else:
                self._temporary.rename(self.folder)
        except OSError as error:
            if not self.folder.exists():  # else another run has written the same scene in the meantime
                raise WriteError(f"cannot write {self.folder}: {error.strerror}") from error

    def _take_place(self) -> None:
        """Rename the new scene over the earlier one, which comes back if that fails (`remove_leftovers`)."""
        earlier = self._temporary.with_name(f"{self._temporary.name}{_EARLIER}")
        self.folder.rename(earlier)
        try:
            self._temporary.rename(self.folder)
        except OSError:
            earlier.rename(self.folder)
            raise
        shutil.rmtree(earlier, ignore_errors=True)

    def _packed_cameras(self) -> bytes:
        numbers = sorted(self._cameras)
        poses, cameras, timestamps = zip(*(self._cameras[number] for number in numbers), strict=True)
        arrays: dict[str, NDArray] = {
            "number": np.array(numbers, np.int64),
            "camera_to_world": np.stack(poses).astype(np.float32),
            "intrinsics": np.stack(cameras).astype(np.float32),
        }
        if all(timestamp is not None for timestamp in timestamps):
            arrays["timestamp"] = np.array(timestamps, np.float64)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    def _facts(self) -> dict[str, Json]:
        """The content of scene.json."""
        first = min(self._cameras)
        return {
            "layout": LAYOUT_VERSION,
            "frames": len(self._cameras),
            "image_size": list(self._size),
            "intrinsics": self._cameras[first][1].tolist(),
            "depth_scale": self.depth_scale,
            "depth_range": [float(limit) for limit in self._depth_range],
            "has_labels": self._planes[0],
            "has_masks": self._planes[1],
            "attributes": self.attributes,
            "dropped": [{"frame": number, "reason": reason} for number, reason in self.dropped],
            "bytes": self._bytes,
            "cameras_sha256": self._checksums["cameras.npz"],
            "files_sha256": self._checksums[CHECKSUMS_FILE],
        }


def remove_leftovers(folder: Path) -> None:
    """Remove leftovers of killed runs, or bring back what they were replacing. Only for the holder of the lock."""
    for path in folder.parent.glob(f".{folder.name}.*"):
        token = path.name.removeprefix(f".{folder.name}.")
        if token.isdecimal():
            shutil.rmtree(path)
        elif token.removesuffix(_EARLIER).isdecimal():
            if folder.exists():
                shutil.rmtree(path)
            else:
                path.rename(folder)
