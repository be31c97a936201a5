"""A folder of photographic textures: what its files show, by their names, and random cut-outs of them.

A name such as ``light-gray-floor-tile.png`` says where the picture fits. Cut-outs differ in place, scale, turn and
colour, so that a few dozen photographs have many looks. They are square and, unless a whole picture is wanted, repeat
without a hard seam.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from common.errors import ConfigurationError

Rng = np.random.Generator

_WORDS = {
    "wood": ("wood", "plank", "parquet", "oak", "door", "bamboo"),
    "brick": ("brick",),
    "tile": ("tile",),
    "stone": ("marble", "granite", "ceramic", "stone", "concrete", "terrazzo"),
    "plaster": ("plaster", "stucco", "clay", "paint", "wall"),
    "fabric": ("fabric", "felt", "cloth", "carpet", "leather", "textile", "linen"),
    "metal": ("metal", "steel", "brass", "iron", "alumin"),
    "floor": ("floor", "parquet"),
    "view": ("panorama", "view", "landscape", "outdoor"),
}
"""Parts of file names and what such a picture shows."""
_SUFFIXES = (".png", ".jpg", ".jpeg")
_KEPT = 512
"""Pixels of the shorter side that is kept in memory."""
_SEAM = 2.0
"""Largest step across the edge of a picture that repeats, in steps between neighbouring rows."""


@dataclass(frozen=True)
class Photographs:
    """Photographs on the surfaces of rooms."""

    folder: Path
    """Searched for PNG and JPEG files, subfolders included."""
    share: float = 0.6
    """Part of the materials of a room that shows one."""


@dataclass(frozen=True)
class PhotographFile:
    """One file."""

    path: Path
    families: frozenset[str]
    """Kinds of material that it shows; empty if its name does not tell."""


def check_photographs(folder: Path) -> None:
    """Decode every photograph of a folder once.

    Raises:
        ConfigurationError: there is no such folder, it holds no photographs, or one cannot be read.
    """
    for file in photograph_files(folder):
        _decode(file.path)


@lru_cache(maxsize=8)
def photograph_files(folder: Path) -> tuple[PhotographFile, ...]:
    """The photographs of a folder, in the order of their names.

    Raises:
        ConfigurationError: there is no such folder, or it holds no photographs.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"photographs: {folder} is not a folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        raise ConfigurationError(f"photographs: no PNG or JPEG files in {folder}")
    return tuple(PhotographFile(path, _families(path.relative_to(folder))) for path in paths)


def _families(path: Path) -> frozenset[str]:
    name = path.as_posix().lower()
    return frozenset(family for family, words in _WORDS.items() if any(word in name for word in words))


def _decode(path: Path) -> np.ndarray:
    try:
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except OSError as error:
        raise ConfigurationError(f"photographs: cannot read {path}: {error.strerror}") from None
    except cv2.error:  # such as a picture too large to decode
        image = None
    if image is None or min(image.shape[:2]) < 8:
        raise ConfigurationError(f"photographs: {path} is not a picture that can be read")
    return image


@lru_cache(maxsize=256)
def _picture(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, the shorter side at most _KEPT pixels; some 200 MB for a full cache."""
    image = _decode(path)
    scale = _KEPT / min(image.shape[:2])
    if scale < 1:
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[..., ::-1])


def cut_out(path: Path, rng: Rng, size: int, hue: float, whole: bool = False) -> np.ndarray:
    """A random variant of a photograph.

    Args:
        path: the file.
        rng: draws the variant.
        size: pixels of its sides.
        hue: largest change of the hue, degrees.
        whole: show all of the picture, upright, in place of a cut-out that repeats.

    Returns:
        (size, size, 3) uint8 sRGB.
    """
    image = _picture(path)
    if whole:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return _recolored(image, rng, hue)
    height, width = image.shape[:2]
    if height == width and _repeats(image) and rng.random() < 0.7:
        square = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    else:
        side = int(min(height, width) * rng.uniform(0.5, 1))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        square = _blended(image[top : top + side, left : left + side], size)
    if rng.random() < 0.5:
        square = square[:, ::-1]
    return _recolored(np.ascontiguousarray(square), rng, hue)


def _repeats(image: np.ndarray) -> bool:
    """True where opposite edges continue each other."""
    for axis in (0, 1):
        lines = np.moveaxis(image, axis, 0).astype(np.float32)
        usual = np.abs(np.diff(lines[:16], axis=0)).mean() + np.abs(np.diff(lines[-16:], axis=0)).mean()
        if np.abs(lines[0] - lines[-1]).mean() > _SEAM * max(usual / 2, 1.0):
            return False
    return True


def _blended(square: np.ndarray, size: int) -> np.ndarray:
    """Resized so that it repeats: a strip beyond each far edge fades into the near one."""
    strip = size // 8
    image = cv2.resize(square, (size + strip, size + strip), interpolation=cv2.INTER_AREA).astype(np.float32)
    fade = (np.arange(strip, dtype=np.float32) + 0.5) / strip
    for axis in (0, 1):
        lines = np.moveaxis(image, axis, 0)
        weight = fade.reshape(-1, 1, 1)
        kept = lines[:size].copy()
        kept[:strip] = lines[:strip] * weight + lines[size:] * (1 - weight)
        image = np.moveaxis(kept, 0, axis)
    return image.round().astype(np.uint8)


def _recolored(image: np.ndarray, rng: Rng, hue: float) -> np.ndarray:
    shift, saturation = rng.uniform(-hue, hue), rng.uniform(0.6, 1.2)
    saturation *= 1 - 0.5 * min(abs(shift) / 60, 1)  # strong colours look unlike photographs once they are shifted
    contrast, gain = rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.1)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # hue in units of two degrees
    steps = np.arange(256, dtype=np.float32)
    tables = np.stack(((steps + round(shift / 2)) % 180, (steps * saturation).clip(0, 255), steps), 1)
    image = cv2.cvtColor(cv2.LUT(hsv, tables[None].astype(np.uint8)), cv2.COLOR_HSV2RGB)
    mean = np.array(cv2.mean(image)[:3], dtype=np.float32)
    tables = (steps[:, None] - mean) * contrast + mean * gain
    return cv2.LUT(image, tables[None].clip(0, 255).astype(np.uint8))
