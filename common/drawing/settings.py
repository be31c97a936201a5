"""Settings of pictures and films of a map."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.ranges import Byte, CountOrZero, FieldOfView, FramesPerSecond, NotNegative, Pixels

Color = tuple[Byte, Byte, Byte]


LIGHT: Color = (238, 240, 243)


@dataclass(frozen=True)
class PreviewStyle:
    """Appearance of a preview."""

    azimuth: float = 20.0
    """Degrees of the viewer to the side of the cameras' mean viewing direction (see `up_axis.level_direction`)."""
    elevation: float = 50.0
    """Degrees of the viewer above the horizon."""
    field_of_view: FieldOfView = 35.0
    """Degrees, vertical."""
    hide_backs: bool = True
    """Leave out surfaces whose back the viewer would see."""
    frusta: CountOrZero = 12
    """Camera frusta to draw at most."""
    shading: NotNegative = 0.4
    """Strength of the edge darkening; 0 for none."""
    background: Color = LIGHT
    """Colour behind the map, RGB."""


@dataclass(frozen=True)
class FilmSettings:
    """Appearance of a film."""

    size: tuple[Pixels, Pixels] = (540, 960)
    """(height, width), pixels."""
    fps: FramesPerSecond = 12.0
    """Steps per second."""
    turn: float = 40.0
    """Degrees that the viewpoint rotates about the scene in the whole film."""
    rest: CountOrZero = 24
    """Frames in which the finished map is shown."""
    picture: float = 0.28
    """Height of the input picture in the corner, as a share of the film's; 0 for none."""
    style: PreviewStyle = field(default_factory=PreviewStyle)
    """Appearance of the map."""

    def __post_init__(self) -> None:
        if min(self.size) < 16 or self.fps <= 0 or self.rest < 0 or not 0 <= self.picture < 1:
            raise ValueError("size is at least 16 pixels, fps positive, rest not negative, picture below 1")
