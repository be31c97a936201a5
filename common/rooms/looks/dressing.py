"""Photographs on the surfaces of a room in place of its patterns.

Surfaces of one material share one photograph. Labels and patterns say what fits: a floor of planks gets wood, cloth
gets cloth, and pictures, screens and things get anything.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from common.rooms.looks.photographs import PhotographFile, Photographs, Rng, cut_out, photograph_files
from common.rooms.looks.textures import COUNT, SIZE, TextureBank, extended_bank, family_of, texture_bank
from common.rooms.primitives import BED, CEILING, CHAIR, FLOOR, OTHER, SOFA, WALL, Room

_LIMIT = 32
"""Cut-outs per room, which bounds memory and time; further materials use them again."""
_STRAY = 0.07
"""Share of the choices that ignore what a photograph shows."""
_FITTED = ("picture", "glyphs")
"""Patterns that fill a face once."""
_SHELL = {
    WALL: ("plaster", "plaster", "plaster", "brick", "stone", "tile", "wood", "fabric"),
    FLOOR: ("floor", "wood", "wood", "tile", "tile", "stone", "fabric"),
    CEILING: ("plaster",),
}
_FURNITURE = {
    "wood": ("wood",),
    "planks": ("wood",),
    "bricks": ("brick",),
    "tiles": ("tile", "stone"),
    "fabric": ("fabric",),
    "plain": ("plaster", "metal", "stone"),
    "mottled": ("metal", "stone", "plaster", "plaster"),
}
"""Families of photographs by the pattern that they replace; others take any."""
_UPHOLSTERY = ("fabric", "stripes", "blobs", "checker", "mottled")
"""Patterns that are cloth on sofas, beds and chairs."""
_HUES = {"wood": 8.0, "brick": 8.0, "tile": 15.0, "stone": 15.0, "floor": 8.0, "view": 5.0}
"""Degrees by which the hue of each family may change; others take any."""
_STONE = (0.35, 0.7)
"""Metres that a photograph of stone covers at most; its grain is finer than that of wood or plaster."""


def dressed(room: Room, photographs: Photographs, seed: int) -> tuple[Room, TextureBank]:
    """A room on the CPU with photographs on a share of its materials, and the textures that it then needs."""
    rng = np.random.default_rng([23, seed])
    wardrobe = _Wardrobe(photograph_files(photographs.folder), rng)
    surfaces = room.surfaces
    texture, colors, frequency = surfaces.texture.clone(), surfaces.colors.clone(), surfaces.frequency.clone()
    look = torch.cat((surfaces.texture[:, None].float(), surfaces.offset, surfaces.colors.flatten(1)), 1)
    _, material = torch.unique(look, dim=0, return_inverse=True)
    for number in range(int(material.max()) + 1):
        rows = torch.nonzero(material == number).squeeze(1)
        first = int(rows[0])
        label, pattern = int(surfaces.label[first]), family_of(int(surfaces.texture[first]))
        sky = room.sky and float(surfaces.emission[first]) > 0
        chosen = rng.random() < photographs.share and not sky
        choice = wardrobe.choose(label, pattern, float(surfaces.emission[first])) if chosen else None
        if choice is not None:
            index, painted = choice
            texture[rows] = COUNT + index
            colors[rows] = _tint(surfaces.colors[first], wardrobe.images[index], painted, rng)
            shown = wardrobe.shown[index][0]
            if pattern not in _FITTED and "stone" in shown and "tile" not in shown:
                frequency[rows] = frequency[rows].clamp_min(1 / rng.uniform(*_STONE))
    surfaces = replace(surfaces, texture=texture, colors=colors, frequency=frequency)
    return replace(room, surfaces=surfaces), extended_bank(texture_bank(0, "cpu"), wardrobe.images)


class _Wardrobe:
    """The cut-outs of one room, made as they are asked for."""

    def __init__(self, files: tuple[PhotographFile, ...], rng: Rng) -> None:
        self.files, self.rng = files, rng
        self.images: list[np.ndarray] = []
        self.shown: list[tuple[frozenset[str], bool]] = []
        """Families of each cut-out, and whether it is a whole picture."""

    def choose(self, label: int, pattern: str, emission: float) -> tuple[int, bool] | None:
        """A cut-out that fits, and whether it takes on the colour of the material; None to keep the pattern."""
        whole, wanted = pattern in _FITTED, _SHELL.get(label) or _FURNITURE.get(pattern, ())
        if label == OTHER and emission > 0 and not whole:  # a lamp or the sky behind a window
            wanted, whole = ("view",), True
            if pattern == "plain" or not any("view" in file.families for file in self.files):
                return None
        elif label in (SOFA, BED, CHAIR) and pattern in _UPHOLSTERY:
            wanted = ("fabric",)
        elif self.rng.random() < _STRAY:
            wanted = ()
        family = str(self.rng.choice(wanted)) if wanted else ""
        painted = family in ("plaster", "fabric", "") and not whole and self.rng.random() < 0.4
        if len(self.images) >= _LIMIT:
            fitting = [index for index, (shown, all_) in enumerate(self.shown) if all_ == whole and family in shown]
            return (int(self.rng.choice(fitting)), painted) if fitting else None
        files = [file for file in self.files if family in file.families] or self.files
        if whole and not wanted and self.rng.random() < 0.6:  # what is no building material
            files = [file for file in files if not file.families] or files
        file = files[self.rng.integers(len(files))]
        hue = min((_HUES.get(shown, 180.0) for shown in file.families), default=180.0)
        if self.rng.random() < 0.5:
            hue = min(hue, 10.0)
        self.images.append(cut_out(file.path, self.rng, SIZE, hue, whole))
        self.shown.append((file.families | {""}, whole))
        return len(self.images) - 1, painted


def _tint(colors: Tensor, image: np.ndarray, painted: bool, rng: Rng) -> Tensor:
    """(3, 3) colours of a surface with a photograph: the first is the factor on the picture's linear colour."""
    gain = torch.from_numpy(rng.uniform(0.92, 1.0, 3).astype(np.float32))
    if painted:  # the picture's relief in the material's own colour
        mean = ((torch.from_numpy(image).float() / 255) ** 2.2).mean((0, 1))
        gain = (colors[0] / mean.clamp_min(0.02)).clamp(0.05, 4)
    return gain.expand(3, 3).clone()
