"""What can be wrong with a frame, with a scene, and with the place that scenes are written to."""

from __future__ import annotations

from common.errors import InputError


class BadFrameError(ValueError):
    """A frame cannot be used. The message is the reason that goes into the list of dropped frames: no file name in it,
    so that frames of one reason can be counted together."""


class SceneError(InputError):
    """A raw scene cannot be converted. The message says why; other scenes are not affected."""


class SceneTakenError(InputError):
    """Another run is writing this scene, or has written it."""


class WriteError(InputError):
    """The output folder cannot be written: a full disk, a missing permission. No other scene will fare better."""
