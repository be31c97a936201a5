"""Masks that users bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.sources.frame_source import Frame
from common.errors import InputError
from common.known.masks import MaskFolder

FRAME = Frame(np.zeros((48, 64, 3), np.uint8), 0, 0.0, "a.jpg", Path("a.jpg"))


@pytest.mark.parametrize("white", [1, 255])
def test_white_is_used(tmp_path: Path, white: int) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[:, 16:] = white
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    found = MaskFolder(tmp_path).find(FRAME)
    assert found is not None and not found[:, :16].any() and found[:, 16:].all()
    assert MaskFolder(tmp_path).find(Frame(FRAME.image, 1, 0.1, "b.jpg", Path("b.jpg"))) is None


def test_a_mask_of_another_shape_is_one_line(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 24), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="24 x 32 pixels do not cover"):
        MaskFolder(tmp_path).find(FRAME)
