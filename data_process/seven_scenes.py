"""7-Scenes (Shotton et al., CVPR 2013) to the processed layout: one scene for each sequence.

    python -m data_process.seven_scenes raw=DIR output=DIR [key=value ...]

The raw depth images are not registered to the colour images: the depth camera has a focal length of 585 pixels and sits
beside the colour camera, whose focal length is about 525. `depth` says what becomes of that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import hydra
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from common.command.launch import clear_errors, launch
from common.configuration import to_dataclass
from common.data.scenes.scene_folder import MILLIMETRES
from data_process.formats.depth_registration import register_depth
from data_process.formats.frame_files import metres, read_color, read_matrix, read_plane
from data_process.writing.command import run
from data_process.writing.runner import StridedSettings
from data_process.writing.scene_writer import SceneWriter

_INVALID = 65535
_FRAME = re.compile(r"frame-(\d+)\.(?:color\.(?:png|jpe?g)|depth\.png|pose\.txt)")
_COLOR_ENDINGS = ("color.png", "color.jpg", "color.jpeg")


@dataclass(frozen=True, kw_only=True)
class SevenScenesSettings(StridedSettings):
    """configs/process/seven_scenes.yaml"""

    depth: Literal["auto", "projected", "register", "raw"]
    focal_depth: float
    focal_color: float
    principal_point: tuple[float, float]
    depth_to_color: tuple[tuple[float, ...], ...]
    move_poses: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if np.shape(self.depth_to_color) != (4, 4):
            raise ValueError("depth_to_color must be a 4 x 4 matrix")

    def intrinsics(self, focal: float) -> NDArray[np.float64]:
        """(3, 3), pixels."""
        return np.array([[focal, 0, self.principal_point[0]], [0, focal, self.principal_point[1]], [0, 0, 1]])


@dataclass(frozen=True)
class Sequence:
    """A sequence of a scene, e.g. chess/seq-01."""

    name: str
    folder: Path
    scene: str
    split: str


def find_scenes(settings: SevenScenesSettings) -> list[Sequence]:
    """All sequences below the raw folder, with their split where TrainSplit.txt and TestSplit.txt are there.

    The raw folder holds the scenes, or is the folder of one scene itself.
    """
    raw = settings.raw_folder()
    folders = sorted(path for pattern in ("seq-*", "*/seq-*") for path in raw.glob(pattern) if path.is_dir())
    return [
        Sequence(f"{folder.parent.name}_{folder.name}", folder, folder.parent.name, _split(folder))
        for folder in folders
    ]


def _split(folder: Path) -> str:
    """train, test or unknown: the split files name sequences as ``sequence1``, the folders are called ``seq-01``."""
    number = int(re.sub(r"\D", "", folder.name) or 0)
    for split in ("train", "test"):
        path = folder.parent / f"{split.capitalize()}Split.txt"
        if path.exists() and number in [int(digits) for digits in re.findall(r"sequence(\d+)", path.read_text())]:
            return split
    return "unknown"


def convert(sequence: Sequence, writer: SceneWriter, settings: SevenScenesSettings) -> None:
    """Add the frames of a sequence."""
    names = [path.name for path in sequence.folder.iterdir()]
    depth = settings.depth
    if depth == "auto":
        depth = "projected" if any(name.endswith(".depth.proj.png") for name in names) else "register"
    writer.attributes |= {
        "scene": sequence.scene,
        "split": sequence.split,
        "depth": depth,
        "number_step": settings.every,
    }
    numbers = sorted({int(match[1]) for name in names if (match := _FRAME.fullmatch(name))})
    for number in numbers:
        if number % settings.every == 0:
            with writer.dropping(number):
                _add_frame(sequence.folder / f"frame-{number:06d}", number, depth, writer, settings)


def _add_frame(stem: Path, number: int, kind: str, writer: SceneWriter, settings: SevenScenesSettings) -> None:
    pose = read_matrix(_beside(stem, "pose.txt"), (4, 4), "pose")
    endings = [ending for ending in _COLOR_ENDINGS if _beside(stem, ending).exists()]
    image = read_color(_beside(stem, endings[0] if endings else _COLOR_ENDINGS[0]))
    file = _beside(stem, "depth.proj.png" if kind == "projected" else "depth.png")
    depth = metres(read_plane(file, "depth image"), MILLIMETRES, invalid=_INVALID)
    intrinsics = settings.intrinsics(settings.focal_depth if kind == "raw" else settings.focal_color)
    depth_to_color = np.array(settings.depth_to_color)
    if kind == "register":
        depth = register_depth(depth, settings.intrinsics(settings.focal_depth), depth_to_color, intrinsics)
    if kind != "raw" and settings.move_poses:
        pose = pose @ np.linalg.inv(depth_to_color)  # pose.txt is that of the depth camera
    writer.add(number, image, depth, pose, intrinsics)


def _beside(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}.{ending}")


@hydra.main(version_base="1.3", config_path="../configs", config_name="process/seven_scenes")
@clear_errors
def main(config: DictConfig) -> None:
    """Convert, or verify."""
    settings = to_dataclass(config, SevenScenesSettings)
    run("seven_scenes", "Microsoft 7-Scenes terms (non-commercial research)", find_scenes, convert, settings)


if __name__ == "__main__":
    launch(main)
