"""Label images beside photographs are left out, and the user is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.sources.image_files import FolderSource, GlobSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photographs in colour."""
    random = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8)).save(tmp_path / f"frame_{number}.png")
    return tmp_path


def labels(kind: str) -> Image.Image:
    """A picture of class numbers 0 to 39."""
    numbers = np.repeat(np.arange(40, dtype=np.uint8), 8)[None].repeat(48, 0)
    if kind == "RGB":
        return Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 3), np.uint8)[numbers])
    image = Image.fromarray(numbers)
    if kind == "P":
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768).tolist())
    return image


@pytest.mark.parametrize(
    ("name", "kind"), [("frame_1_nyu40.png", "L"), ("frame_1_seg.png", "P"), ("frame_1.labels.png", "RGB")]
)
def test_a_label_image_is_no_photograph(folder: Path, name: str, kind: str) -> None:
    labels(kind).save(folder / name)
    source = FolderSource(folder)
    source.validate()
    assert [frame.name for frame in source] == ["frame_0.png", "frame_1.png", "frame_2.png"]
    assert source.notes == [f"left out as label images, for few values or their names: 1 ({name})"]


def test_photographs_in_grey_stay(folder: Path) -> None:
    Image.open(folder / "frame_0.png").convert("L").save(folder / "grey.png")
    Image.open(folder / "frame_0.png").save(folder / "labelling_robot.png")
    source = GlobSource(str(folder / "*.png"))
    source.validate()
    assert (source.length, source.notes) == (5, [])


def test_a_folder_of_nothing_but_labels_is_taken_as_it_is(tmp_path: Path) -> None:
    for number in range(2):
        labels("P").save(tmp_path / f"label_{number}.png")
    source = FolderSource(tmp_path)
    source.validate()
    assert source.length == 2
