"""Materials and the style of a room: which colours and patterns its things are made of."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from common.rooms.looks.textures import FAMILY

Rng = np.random.Generator
Color = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """Look of a surface."""

    texture: int
    colors: tuple[Color, Color, Color]
    period: tuple[float, float] = (1.0, 1.0)
    """Metres per repetition along the two axes of a face."""
    angle: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)
    gloss: float = 0.0
    emission: float = 0.0


def hsv(hue: float, saturation: float, value: float) -> Color:
    """A colour from hue, saturation and perceived value, as linear reflectance."""
    return tuple(channel**2.2 for channel in colorsys.hsv_to_rgb(hue % 1, min(saturation, 1), min(value, 1)))


def _pattern(rng: Rng, family: str) -> int:
    return int(rng.choice(FAMILY[family]))


def make(rng: Rng, family: str, colors, period: float, angle: float = 0.0, gloss: float = 0.0) -> Material:
    """A repeating material at a random offset."""
    return Material(_pattern(rng, family), tuple(colors), (period, period), angle, tuple(rng.random(2)), gloss)


def fitted(rng: Rng, family: str, colors, width: float, height: float, emission: float = 0.0) -> Material:
    """A material that fills a face of the given size exactly once."""
    return Material(_pattern(rng, family), tuple(colors), (width, height), 0.0, (0.5, 0.5), 0.05, emission)


def any_colors(rng: Rng, count: int = 3, saturation: float = 0.8) -> list[Color]:
    """Colours that differ clearly in value."""
    values = rng.permutation(np.linspace(0.25, 0.95, count))
    hue = rng.random()
    spread = rng.choice([0.03, 0.15, 0.5])
    return [hsv(hue + rng.normal() * spread, rng.random() * saturation, value) for value in values]


def wood_colors(rng: Rng) -> list[Color]:
    hue, saturation, value = rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.65), rng.uniform(0.45, 0.85)
    return [
        hsv(hue, saturation, value),
        hsv(hue - 0.01, saturation + 0.1, value * rng.uniform(0.55, 0.75)),
        hsv(hue, saturation, value * 0.35),
    ]


def wall_material(rng: Rng) -> Material:
    """Paint, wallpaper, brick or panels."""
    value, hue = rng.uniform(0.7, 0.95), rng.random()
    saturation = rng.uniform(0, 0.35) ** 1.5
    base = hsv(hue, saturation, value)
    second = hsv(hue + rng.normal() * 0.1, saturation + rng.uniform(0, 0.25), value * rng.uniform(0.6, 0.9))
    third = hsv(rng.random(), rng.uniform(0, 0.5), rng.uniform(0.3, 0.9))
    families = ("plain", "mottled", "stripes", "bricks", "tiles", "blobs", "planks", "fabric")
    family = str(rng.choice(families, p=(0.36, 0.17, 0.14, 0.08, 0.06, 0.08, 0.06, 0.05)))
    if family == "bricks":
        hue = rng.uniform(0.0, 0.07)
        base, second = hsv(hue, 0.5, 0.6), hsv(hue, 0.45, 0.4)
        third = hsv(0.1, 0.1, 0.75)
    return make(rng, family, (base, second, third), rng.uniform(0.7, 2.0), gloss=rng.uniform(0, 0.05))


def floor_material(rng: Rng) -> Material:
    """Boards, tiles, stone or carpet."""
    kind = rng.choice(["planks", "tiles", "checker", "mottled", "fabric"], p=(0.45, 0.2, 0.1, 0.15, 0.1))
    colors = wood_colors(rng) if kind == "planks" else any_colors(rng, saturation=0.4)
    angle = float(rng.choice([0, np.pi / 2, np.pi / 4], p=(0.45, 0.45, 0.1)))
    return make(rng, str(kind), colors, rng.uniform(1.0, 2.4), angle, rng.uniform(0, 0.25))


def ceiling_material(rng: Rng) -> Material:
    value = rng.uniform(0.8, 0.97)
    colors = [hsv(rng.random(), 0.05, value), hsv(rng.random(), 0.08, value * 0.85), hsv(0.1, 0.1, value * 0.7)]
    return make(rng, str(rng.choice(["plain", "mottled", "tiles"], p=(0.7, 0.15, 0.15))), colors, rng.uniform(1, 2.5))


class Style:
    """The materials that the furniture of one room shares."""

    def __init__(self, rng: Rng) -> None:
        self.frame = self.wood(rng) if rng.random() < 0.75 else self.paint(rng)
        self.table = self.wood(rng) if rng.random() < 0.75 else self.paint(rng)
        self.cushion = self.fabric(rng) if rng.random() < 0.6 else self.frame
        self.upholstery = self.fabric(rng)
        self.dark = Material(_pattern(rng, "plain"), (hsv(0.6, 0.1, 0.2),) * 3, gloss=0.2)
        self.white = Material(_pattern(rng, "plain"), (hsv(0.1, 0.04, 0.93), hsv(0.1, 0.1, 0.8), hsv(0.1, 0.1, 0.6)))
        self.slatted = bool(rng.random() < 0.4)

    def wood(self, rng: Rng) -> Material:
        return make(rng, "wood", wood_colors(rng), rng.uniform(0.5, 1.1), gloss=rng.uniform(0, 0.2))

    def paint(self, rng: Rng) -> Material:
        hue, value = rng.random(), rng.uniform(0.3, 0.95)
        colors = [hsv(hue, rng.uniform(0, 0.5), value), hsv(hue, 0.2, value * 0.8), hsv(hue, 0.3, value * 0.5)]
        return make(rng, str(rng.choice(["plain", "mottled"])), colors, 0.8, gloss=rng.uniform(0, 0.3))

    def fabric(self, rng: Rng) -> Material:
        family = str(rng.choice(["fabric", "stripes", "blobs", "mottled", "checker"], p=(0.35, 0.2, 0.15, 0.2, 0.1)))
        return make(rng, family, any_colors(rng), rng.uniform(0.25, 0.7), float(rng.choice([0, np.pi / 2])))

    def light_fabric(self, rng: Rng) -> Material:
        hue = rng.random()
        colors = [hsv(hue, rng.uniform(0, 0.15), 0.95), hsv(hue, 0.3, 0.7), hsv(rng.random(), 0.4, 0.6)]
        return make(rng, str(rng.choice(["mottled", "stripes", "blobs", "fabric"])), colors, rng.uniform(0.3, 0.6))

    def thing(self, rng: Rng) -> Material:
        family = str(rng.choice(["mottled", "stripes", "checker", "blobs", "plain", "wood", "tiles"]))
        return make(rng, family, any_colors(rng, saturation=1), rng.uniform(0.1, 0.35), gloss=rng.uniform(0, 0.4))

    def book(self, rng: Rng) -> Material:
        return make(rng, str(rng.choice(["glyphs", "plain"])), any_colors(rng, saturation=0.9), rng.uniform(0.2, 0.4))

    def page(self, rng: Rng, width: float, height: float) -> Material:
        return fitted(rng, "glyphs", any_colors(rng, saturation=0.5), width, height)

    def picture(self, rng: Rng, width: float, height: float) -> Material:
        family = "picture" if rng.random() < 0.75 else "glyphs"
        return fitted(rng, family, any_colors(rng, saturation=1), width, height)

    def screen(self, rng: Rng, width: float, height: float) -> Material:
        if rng.random() < 0.4:
            return self.dark
        family = str(rng.choice(["picture", "glyphs"]))
        return fitted(rng, family, any_colors(rng, saturation=1), width, height, emission=0.5)

    def glow(self, rng: Rng, strength: float) -> Material:
        warm = rng.uniform(0, 0.35)
        colors = (hsv(0.11, warm, 1.0),) * 3
        return Material(_pattern(rng, "plain"), colors, emission=strength)

    def leaf(self, rng: Rng) -> Material:
        hue, value = rng.uniform(0.22, 0.38), rng.uniform(0.3, 0.65)
        colors = [hsv(hue, 0.6, value), hsv(hue + 0.03, 0.7, value * 0.6), hsv(hue - 0.05, 0.5, value * 1.3)]
        return make(rng, str(rng.choice(["mottled", "stripes", "wood"])), colors, 0.2)

    def sky(self, rng: Rng, width: float, height: float) -> Material:
        value = rng.uniform(0.75, 1.0)
        colors = (hsv(0.58, 0.25, value), hsv(0.3, 0.3, value * 0.7), hsv(0.1, 0.1, value))
        return fitted(rng, "mottled", colors, 1.5 * width, 1.5 * height, emission=rng.uniform(1.0, 2.0))
