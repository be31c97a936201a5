"""ScanNet's raw categories to the eight classes of this project (those of LSM and Uni3R)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigurationError

CLASSES = ("wall", "floor", "ceiling", "chair", "table", "sofa", "bed", "other")
"""Names of the classes by number, as in `common.rooms.LABEL_NAMES`."""
UNLABELLED = 255
SCANNET_LICENCE = "ScanNet terms of use (non-commercial research)"
TABLE_NAME = "scannetv2-labels.combined.tsv"

_OTHER = CLASSES.index("other")


class LabelTable:
    """Maps raw ids by their NYU40 class (Uni3R, github.com/HorizonRobotics/Uni3R, testdata.py; LSM does the same).

    Raw id -> column ``nyu40class`` -> the class of that name, or "other" if there is none; ids that are not in the
    table are "other" too, and 0 is unlabelled. (In that code, classes count from 1 and 0 is unlabelled.)

    Args:
        path: ``scannetv2-labels.combined.tsv``, which comes with ScanNet.

    Raises:
        ConfigurationError: the file is missing or not this table.
    """

    def __init__(self, path: Path) -> None:
        self._classes = np.full(1 << 16, _OTHER, np.uint8)
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                    name = (row["nyu40class"] or "").strip().lower()
                    self._classes[int(row["id"])] = CLASSES.index(name) if name in CLASSES else _OTHER
        except OSError as error:
            raise ConfigurationError(f"label table {path}: {error.strerror}") from None
        except (KeyError, ValueError, IndexError):
            raise ConfigurationError(f"label table {path}: not {TABLE_NAME} (no columns id and nyu40class)") from None
        self._classes[0] = UNLABELLED

    def __call__(self, raw: NDArray) -> NDArray[np.uint8]:
        """Classes (H, W) of raw ids (H, W) of 8 or 16 bits; 255 unlabelled."""
        return self._classes[raw]
