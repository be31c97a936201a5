"""7-Scenes (Shotton et al., CVPR 2013) to the processed layout: one scene for each sequence.

    python -m data_process.seven_scenes raw=DIR output=DIR [key=value ...]

The raw depth images are not registered to the colour images: the depth camera has a focal length of 585 pixels and sits
beside the colour camera, whose focal length is about 525. The setting `depth` says how this is handled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.command.launch import launch
from common.data.scenes.scene_folder import MILLIMETRES
from common.ranges import NotNegative, Positive
from data_process.formats.depth_registration import register_depth
from data_process.formats.frame_files import metres, read_color, read_matrix, read_plane
from data_process.writing.command import process_verb, run
from data_process.writing.runner import StridedSettings
from data_process.writing.scene_writer import SceneWriter

_INVALID = 65535
_FRAME = re.compile(r"frame-(\d+)\.(?:color\.(?:png|jpe?g)|depth\.png|pose\.txt)")
_COLOR_ENDINGS = ("color.png", "color.jpg", "color.jpeg")

LIRIS_DEPTH_TO_COLOR = (
    (0.99996518012567637, 0.0026765126468950343, -0.0079041012313000904, -0.025558943178152542),
    (-0.0027409311281316700, 0.99996302803027592, -0.0081504520778013286, 0.00010109636268061706),
    (0.0078819942130445332, 0.0081718328771890631, 0.99993554558014031, 0.0020318321729487039),
    (0.0, 0.0, 0.0, 1.0),
)
"""The Kinect calibration published by LIRIS, which DSAC*, ACE and SimpleRecon use for this data set too. It belongs to
another Kinect, so it is accurate to a few pixels."""


@dataclass(frozen=True, kw_only=True)
class SevenScenesSettings(StridedSettings):
    """Settings of configs/process/seven_scenes.yaml."""

    depth: Literal["auto", "projected", "register", "raw"] = "auto"
    """Source of the depth. projected: frame-*.depth.proj.png (third-party, from the raw depth), with the colour camera.
    register: frame-*.depth.png reprojected into the colour camera. raw: frame-*.depth.png unchanged, with the depth
    camera, tens of pixels off the colours at the border. auto: projected if a sequence has such files, else
    register."""
    focal_depth: Positive = 585.0
    """Focal length of the depth camera, pixels (Microsoft's page of the data set)."""
    focal_color: Positive = 525.0
    """Focal length of the colour camera, pixels (the Kinect's nominal value, used in the literature)."""
    principal_point: tuple[NotNegative, NotNegative] = (320.0, 240.0)
    """Principal point of both cameras, pixels."""
    depth_to_color: tuple[tuple[float, ...], ...] = LIRIS_DEPTH_TO_COLOR
    """Transform of points from the depth camera to the colour camera, metres, 4 x 4."""
    move_poses: bool = True
    """Move the poses to the colour camera with the depth; false: leave them, as published evaluations do."""

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
    """Find all sequences below the raw folder, with their split if TrainSplit.txt and TestSplit.txt exist.

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


def process(settings: SevenScenesSettings) -> None:
    """Convert the raw data, or verify the output."""
    run("seven_scenes", "Microsoft 7-Scenes terms (non-commercial research)", find_scenes, convert, settings)


VERB = process_verb(
    "seven_scenes",
    SevenScenesSettings,
    process,
    "7-Scenes to the processed layout. raw holds <scene>/seq-01/frame-000000.{color.png,depth.png,pose.txt} "
    "(colour also as .jpg) and <scene>/{TrainSplit,TestSplit}.txt; or is the folder of one scene. depth= chooses "
    "how colour and depth are matched.",
)

if __name__ == "__main__":
    launch(VERB)
