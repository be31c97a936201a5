"""The frames of a ScanNet++ scene, of its DSLR or its iPhone, with their COLMAP cameras.

Source: documentation of ScanNet++ (kaldir.vc.in.tum.de/scannetpp/documentation) and Yeshwanth et al., "ScanNet++", ICCV
2023. DSLR images are DSC<number>.JPG; iPhone images frame_<number>.jpg, of which COLMAP registered every tenth.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.export.colmap_reading import ColmapImage, read_colmap_images
from data_process.errors import SceneError
from data_process.formats.frame_files import decode_color, read_bytes, read_plane
from data_process.formats.video_frames import VideoFrames

NUMBER_STEP = {"dslr": 1, "iphone": 10}
"""Increment of the frame numbers from one frame to the next."""

_VIDEOS = ("rgb.mkv", "rgb.mp4")  # version 2 and version 1 of the data set
_MASK_VIDEOS = ("rgb_mask.mkv", "rgb_mask.mp4")
_NUMBER = re.compile(r"(\d+)$")

ReadImage = Callable[[str, int], NDArray[np.uint8]]


@dataclass(frozen=True)
class SensorFrame:
    """Registered frame whose pixels are read on demand."""

    number: int
    registered: ColmapImage
    timestamp: float | None
    _color: ReadImage
    _mask: ReadImage

    @property
    def stem(self) -> str:
        """Name of the frame's files, without folder and ending."""
        return PurePosixPath(self.registered.name).stem

    def read_color(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; raises BadFrameError."""
        return self._color(PurePosixPath(self.registered.name).name, self.number)

    def read_mask(self) -> NDArray[np.uint8]:
        """(H, W) 255 where nothing is anonymized; raises BadFrameError, also where there is no mask."""
        return self._mask(f"{self.stem}.png", self.number)


def frames(sensor: str, folder: Path, skip_blurred: bool) -> Iterator[SensorFrame | tuple[int, str]]:
    """Frames in the order of their numbers; (number, reason) for those that are left out.

    Args:
        sensor: "dslr" or "iphone".
        folder: folder of the sensor in the scene.
        skip_blurred: leave out DSLR images that nerfstudio/transforms.json marks as bad.
    """
    images = {frame_number(image.name): image for image in read_colmap_images(folder / "colmap")}
    left_out = _dslr_left_out(folder, skip_blurred) if sensor == "dslr" else {}
    times = _iphone_times(folder) if sensor == "iphone" else {}
    color, mask = _readers(sensor, folder)
    for number, image in sorted(images.items()):
        name = PurePosixPath(image.name)
        if name.name in left_out:
            yield number, left_out[name.name]
        else:
            yield SensorFrame(number, image, times.get(name.stem), color, mask)


def frame_number(name: str) -> int:
    """Number at the end of an image's name: 12 of video/frame_000012.jpg."""
    match = _NUMBER.search(PurePosixPath(name).stem)
    if match is None:
        raise SceneError(f"image {name} has no number at the end of its name")
    return int(match[1])


def _readers(sensor: str, folder: Path) -> tuple[ReadImage, ReadImage]:
    if sensor == "dslr":
        return _from_folder(folder / "resized_images"), _masks_from_folder(folder / "resized_anon_masks")
    color = folder / "rgb"
    video, masks = _first(folder, _VIDEOS), _first(folder, _MASK_VIDEOS)
    if not color.is_dir() and video is None:
        raise SceneError(f"{folder}: neither rgb/ nor {' nor '.join(_VIDEOS)}")
    read_color = _from_folder(color) if color.is_dir() or video is None else _from_video(video)
    if (folder / "rgb_masks").is_dir() or masks is None:
        return read_color, _masks_from_folder(folder / "rgb_masks")
    mask_video = _from_video(masks)
    # masks are black or white; values between are compression artefacts of the video
    return read_color, lambda name, number: np.where(mask_video(name, number)[..., 0] < 128, 0, 255).astype(np.uint8)


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _from_folder(folder: Path) -> ReadImage:
    return lambda name, number: decode_color(read_bytes(folder / name, "color image"))


def _masks_from_folder(folder: Path) -> ReadImage:
    what = "anonymization mask"
    return lambda name, number: read_plane(folder / name, what)


def _from_video(path: Path) -> ReadImage:
    video = VideoFrames(path)
    return lambda name, number: video.read(number)


def _dslr_left_out(folder: Path, skip_blurred: bool) -> dict[str, str]:
    """Names of DSLR images that are left out, with the reason."""
    path = folder / "train_test_lists.json"
    try:
        left_out = dict.fromkeys(_read_json(path)["test"], "test image")
        if skip_blurred:
            transforms = _read_json(folder / "nerfstudio" / "transforms.json")
            entries = [*transforms["frames"], *transforms.get("test_frames", [])]
            for entry in entries:
                if entry.get("is_bad", False):
                    left_out.setdefault(PurePosixPath(entry["file_path"]).name, "blurred image")
    except (KeyError, TypeError, AttributeError) as error:
        raise SceneError(f"{folder}: train_test_lists.json or transforms.json: not as documented ({error})") from error
    return left_out


def _iphone_times(folder: Path) -> dict[str, float]:
    """Frame name to seconds, from pose_intrinsic_imu.json if it exists."""
    path = folder / "pose_intrinsic_imu.json"
    if not path.is_file():
        return {}
    try:
        return {name: float(entry["timestamp"]) for name, entry in _read_json(path).items() if "timestamp" in entry}
    except (TypeError, ValueError, AttributeError) as error:
        raise SceneError(f"{path}: not as documented ({error})") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise SceneError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SceneError(f"{path}: not valid JSON ({error})") from error
