"""The sources of frames as options of the configuration group ``source``."""

from __future__ import annotations

from common.command.registry import register_target
from common.data.sources.camera import CameraSource
from common.data.sources.image_files import FolderSource, GlobSource, ListSource
from common.data.sources.video import VideoSource

SOURCES = {
    "folder": FolderSource,
    "video": VideoSource,
    "glob": GlobSource,
    "list": ListSource,
    "camera": CameraSource,
}
"""Option -> class; its docstring explains the settings."""


def register_sources() -> None:
    """Make the sources known to Hydra."""
    for name, source in SOURCES.items():
        register_target("source", name, source)
