"""Errors of frames, of scenes, and of the output folder."""

from __future__ import annotations

from common.errors import InputError


class BadFrameError(ValueError):
    """Raised for an unusable frame. The message goes into the list of dropped frames, without a file name, so that
    frames with the same reason can be counted together."""


class SceneError(InputError):
    """Raised for a raw scene that cannot be converted; other scenes are not affected."""


class EmptySceneError(SceneError):
    """Raised for a raw scene without a single frame: nothing to convert, and nothing that failed."""


class SceneTakenError(InputError):
    """Raised if another run is writing this scene, or has written it."""


class WriteError(InputError):
    """Raised if the output folder cannot be written (full disk, missing permission), which ends the run."""
