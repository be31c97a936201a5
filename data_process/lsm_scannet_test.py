"""The ScanNet test set of LSM (Fan et al., NeurIPS 2024), on which Uni3R is evaluated, to the processed layout.

    python -m data_process.lsm_scannet_test raw=DIR output=DIR [key=value ...]

40 scenes of 30 frames. The published protocol counts frames in the order of their names, as strings; here a frame's
number is its index in that order, and scene.json keeps the names.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.command.launch import launch
from common.data.scenes.scene_folder import MILLIMETRES
from common.errors import ConfigurationError
from common.files import read_json
from data_process.errors import BadFrameError
from data_process.formats.frame_files import metres, read_color, read_plane
from data_process.formats.scannet_labels import SCANNET_LICENCE, TABLE_NAME, LabelTable
from data_process.writing.command import process_verb, run
from data_process.writing.runner import ProcessSettings
from data_process.writing.scene_writer import SceneWriter

_SELECTION = "selected_seqs_test.json"


@dataclass(frozen=True, kw_only=True)
class LsmSettings(ProcessSettings):
    """Settings of configs/process/lsm_scannet_test.yaml."""

    ignored: list[str] = field(default_factory=lambda: ["scene0696_02"])
    """Scenes that the published evaluation leaves out."""
    label_table: str | None = None
    """scannetv2-labels.combined.tsv; null: the one in the raw folder."""


@dataclass(frozen=True)
class LsmScene:
    """A scene: a folder with images (and their .npz), depths and labels."""

    name: str
    folder: Path
    selected: tuple[str, ...]
    """Names of the frames that the two-view protocol evaluates, in its order."""
    table: LabelTable


def find_scenes(settings: LsmSettings) -> list[LsmScene]:
    """All scenes below the raw folder but the ignored ones.

    Raises:
        ConfigurationError: the label table or the selection of frames is missing or damaged.
    """
    raw = settings.raw_folder()
    table = LabelTable(Path(settings.label_table or raw / TABLE_NAME))
    path = raw / _SELECTION
    try:
        selection: dict[str, list[Any]] = read_json(path)
        selected = {name: tuple(str(frame) for frame in sorted(frames)) for name, frames in selection.items()}
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; it comes with the scenes") from None
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError(f"{path}: expected the names of frames by scene") from None
    folders = sorted(images.parent for images in raw.glob("*/images") if images.is_dir())
    return [
        LsmScene(folder.name, folder, selected.get(folder.name, ()), table)
        for folder in folders
        if folder.name not in settings.ignored
    ]


def convert(scene: LsmScene, writer: SceneWriter, settings: LsmSettings) -> None:
    """Add the frames of a scene."""
    names = sorted(path.stem for path in (scene.folder / "images").glob("*.jpg"))
    number_of = {name: number for number, name in enumerate(names)}
    selected = [number_of[name] for name in scene.selected if name in number_of]
    writer.attributes |= {"split": "test", "number_step": 1, "names": names, "selected": selected}
    depths = next((scene.folder / name for name in ("depths", "depth") if (scene.folder / name).is_dir()), None)
    for number, name in enumerate(names):
        with writer.dropping(number):
            pose, intrinsics = _read_camera(scene.folder / "images" / f"{name}.npz")
            if depths is None:
                raise BadFrameError("no depth image")
            depth = metres(read_plane(depths / f"{name}.png", "depth image"), MILLIMETRES)
            label = scene.table(read_plane(scene.folder / "labels" / f"{name}.png", "label image"))
            image = read_color(scene.folder / "images" / f"{name}.jpg")
            writer.add(number, image, depth, pose, intrinsics, label=label)


def _read_camera(path: Path) -> tuple[NDArray, NDArray]:
    """Camera-to-world (4, 4) and intrinsics (3, 3) of a frame."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["camera_pose"].reshape(4, 4), arrays["camera_intrinsics"].reshape(3, 3)
    except FileNotFoundError:
        raise BadFrameError("no camera file") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise BadFrameError("damaged camera file") from None


def process(settings: LsmSettings) -> None:
    """Convert the raw data, or verify the output."""
    knobs = settings.own("label_table")
    run("lsm_scannet_test", SCANNET_LICENCE, find_scenes, convert, settings, knobs)


VERB = process_verb(
    "lsm_scannet_test",
    LsmSettings,
    process,
    "The ScanNet test set of LSM and Uni3R to the processed layout. raw holds "
    "<scene>/{images/*.jpg,images/*.npz,depths/*.png,labels/*.png}, selected_seqs_test.json and "
    "scannetv2-labels.combined.tsv: scannet_test.tar as it unpacks.",
)

if __name__ == "__main__":
    launch(VERB)
