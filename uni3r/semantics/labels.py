"""Label sets: the classes of a data set with their words and colours, read from ``configs/labels``."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from common.configuration import config_folder, to_dataclass
from common.errors import ConfigurationError
from uni3r.semantics.text_encoder import BARE_WORD

UNLABELLED = 255
"""Label of pixels without a class, in memory and on disk."""
_GOLDEN_RATIO = 0.618034


@dataclass(frozen=True)
class SemanticClass:
    """One class of a label set; its number is its index in the set."""

    name: str
    color: tuple[int, int, int]
    """RGB, 0 to 255."""
    words: tuple[str, ...] = ()
    """Words for the class, averaged; if empty, its name."""

    def __post_init__(self) -> None:
        if not all(0 <= value <= 255 for value in self.color):
            raise ValueError(f"class {self.name}: a colour is three numbers from 0 to 255, got {self.color}")


@dataclass(frozen=True)
class LabelSet:
    """Classes 0 to K - 1."""

    name: str
    classes: tuple[SemanticClass, ...]
    templates: tuple[str, ...] = BARE_WORD
    """Prompt templates for the words, each with one ``{}``."""

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) != len(names):
            raise ValueError(f"label set {self.name}: needs classes, each with a name of its own; got {list(names)}")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return tuple(kind.name for kind in self.classes)

    @property
    def colors(self) -> NDArray[np.uint8]:
        """(K, 3) RGB."""
        return np.array([kind.color for kind in self.classes], np.uint8)

    @property
    def words(self) -> list[tuple[str, ...]]:
        """The group of words of each class, ready for a teacher's `text`."""
        return [kind.words or (kind.name,) for kind in self.classes]


def load_label_set(name: str | Path) -> LabelSet:
    """Load a label set of ``configs/labels`` by name (``scannet8``, ``nyu40``, ``rooms``), or any such YAML file.

    Raises:
        ConfigurationError: the file is invalid, or there is no such set; the message lists the existing ones.
    """
    folder = config_folder() / "labels"
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise ConfigurationError(f"no label set {name}: expected one of {known}, or a YAML file")
    try:
        return to_dataclass(OmegaConf.load(path), LabelSet)
    except (YAMLError, OmegaConfBaseException, OSError) as error:
        raise ConfigurationError(f"{path} is not readable YAML: {str(error).splitlines()[0]}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def label_set_of_words(words: Sequence[str], templates: Sequence[str] = BARE_WORD) -> LabelSet:
    """Make a label set of any words, in colours that are as distinct as their number allows.

    Raises:
        ConfigurationError: there are no words, or one is given twice.
    """
    try:
        colors = distinct_colors(len(words))
        classes = tuple(SemanticClass(word, color) for word, color in zip(words, colors, strict=True))
        return LabelSet("query", classes, tuple(templates))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def distinct_colors(count: int) -> list[tuple[int, int, int]]:
    """RGB colours whose hues step by the golden ratio: the first ones stay the same whatever the count."""
    colors = []
    for index in range(count):
        hue, ring = (index * _GOLDEN_RATIO) % 1, index // 8
        rgb = colorsys.hsv_to_rgb(hue, 0.75 - 0.25 * (ring % 3), 0.95 - 0.2 * (ring % 2))
        colors.append((round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2])))
    return colors
