"""Materials of the world outdoors: masonry, roofs, ground, foliage and sky."""

from __future__ import annotations

import numpy as np

from common.rooms.looks.materials import Color, Material, Rng, any_colors, hsv, make


def masonry(rng: Rng) -> Material:
    """Brick, stone, plaster or boards of a façade."""
    family = str(rng.choice(["bricks", "tiles", "plain", "mottled", "planks"], p=(0.3, 0.15, 0.2, 0.28, 0.07)))
    if family == "bricks" and rng.random() < 0.6:
        hue = rng.uniform(0.0, 0.08)
        colors = [hsv(hue, 0.55, rng.uniform(0.45, 0.7)), hsv(hue, 0.5, rng.uniform(0.3, 0.45)), hsv(0.1, 0.1, 0.75)]
        return make(rng, family, colors, rng.uniform(1.0, 2.4))
    return make(rng, family, stone_colors(rng), rng.uniform(1.2, 5.0), gloss=rng.uniform(0, 0.05))


def stone_colors(rng: Rng) -> list[Color]:
    """Three tones of one stone or plaster."""
    hue, saturation, value = rng.uniform(0.04, 0.16), rng.uniform(0.03, 0.4), rng.uniform(0.5, 0.95)
    if rng.random() < 0.25:
        hue = rng.random()
    return [hsv(hue, saturation * share, value * share) for share in (1.0, rng.uniform(0.65, 0.85), 0.5)]


def roofing(rng: Rng) -> Material:
    """Tiles, slate or sheet metal."""
    hue, saturation, value = (
        (rng.uniform(0.0, 0.06), rng.uniform(0.4, 0.7), rng.uniform(0.35, 0.65))
        if rng.random() < 0.6
        else (0.6, rng.uniform(0.02, 0.2), rng.uniform(0.2, 0.5))
    )
    colors = [hsv(hue, saturation, value * share) for share in (1.0, 0.7, 0.45)]
    return make(rng, str(rng.choice(["bricks", "tiles", "planks", "mottled"])), colors, rng.uniform(1.0, 2.5))


def trim(rng: Rng) -> Material:
    """Frames, sills and cornices: mostly light."""
    value = rng.uniform(0.75, 0.97) if rng.random() < 0.7 else rng.uniform(0.2, 0.6)
    hue, saturation = rng.random(), rng.uniform(0, 0.25)
    colors = [hsv(hue, saturation, value * share) for share in (1.0, 0.85, 0.65)]
    return make(rng, str(rng.choice(["plain", "mottled"])), colors, 1.0)


def glass(rng: Rng) -> Material:
    """A pane: dark, with something of the sky in it."""
    colors = [hsv(0.58, rng.uniform(0, 0.3), value) for value in rng.uniform(0.1, 0.6, 3)]
    return make(rng, str(rng.choice(["mottled", "plain"])), colors, rng.uniform(1, 4), gloss=0.4)


def paving(rng: Rng) -> Material:
    """Asphalt, slabs, cobbles or gravel."""
    family = str(rng.choice(["mottled", "tiles", "bricks", "blobs", "checker"], p=(0.45, 0.25, 0.2, 0.06, 0.04)))
    hue, value = rng.uniform(0.05, 0.6), rng.uniform(0.35, 0.75)
    colors = [hsv(hue, rng.uniform(0, 0.15), value * share) for share in (1.0, rng.uniform(0.7, 0.9), 0.55)]
    return make(rng, family, colors, rng.uniform(0.8, 4.0), float(rng.choice([0, np.pi / 4, np.pi / 2])))


def lawn(rng: Rng) -> Material:
    """Grass."""
    hue, value = rng.uniform(0.2, 0.33), rng.uniform(0.35, 0.65)
    colors = [hsv(hue, 0.55, value), hsv(hue + 0.03, 0.6, value * 0.65), hsv(hue - 0.06, 0.4, value * 1.15)]
    return make(rng, "mottled", colors, rng.uniform(0.8, 3.0))


def foliage(rng: Rng, hue: float) -> Material:
    """Leaves about a hue."""
    hue, value = hue + rng.normal() * 0.015, rng.uniform(0.3, 0.65)
    colors = [hsv(hue, 0.6, value), hsv(hue + 0.03, 0.7, value * 0.5), hsv(hue - 0.04, 0.5, value * 1.3)]
    return make(rng, "mottled", colors, rng.uniform(0.4, 1.5))


def paint(rng: Rng) -> Material:
    """Doors, cars and clothes: any colour."""
    family = str(rng.choice(["plain", "mottled", "stripes", "fabric"], p=(0.5, 0.2, 0.15, 0.15)))
    return make(rng, family, any_colors(rng, saturation=0.9), rng.uniform(0.4, 1.2), gloss=rng.uniform(0, 0.4))


def sky(rng: Rng, extent: float) -> Material:
    """Blue with clouds, or overcast; it shines by itself. extent: of the shell, metres."""
    brightness = rng.uniform(0.75, 1.0)
    saturation = rng.uniform(0.0, 0.08) if rng.random() < 0.35 else rng.uniform(0.25, 0.6)
    cloud = hsv(0.6, rng.uniform(0, 0.06), brightness)
    colors = (hsv(rng.uniform(0.55, 0.62), saturation, brightness * rng.uniform(0.75, 0.95)), cloud, cloud)
    material = make(rng, "mottled", colors, extent * rng.uniform(0.6, 1.2))
    return Material(
        material.texture, material.colors, material.period, 0.0, material.offset, 0.0, rng.uniform(0.8, 1.8)
    )
