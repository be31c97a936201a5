"""Recognition of what people point at: a folder, a video, a pattern, a list, files, a stream's address, a camera.

Looks at names and at the file system only, so that a wrong path is told before the networks' libraries are loaded.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.data.sources.camera import CameraSource
from common.data.sources.frame_source import FrameSource, SourceError
from common.data.sources.image_files import FilesSource, FolderSource, GlobSource
from common.data.sources.image_list import ListSource
from common.data.sources.images import IMAGE_SUFFIXES
from common.data.sources.video import VideoSource
from common.paths import user_path

SOURCES: Mapping[str, type[FrameSource]] = {
    "folder": FolderSource,
    "video": VideoSource,
    "glob": GlobSource,
    "list": ListSource,
    "files": FilesSource,
    "camera": CameraSource,
}
"""Kind of source -> class; its docstring explains the settings."""

LIST_SUFFIXES = (".txt", ".lst", ".list")
"""File name endings of text lists of images."""
MAIN_ARGUMENT = {"glob": "pattern", "files": "paths", "camera": "device"}
"""Argument of a source that says where the frames are; ``path`` for the other kinds."""
EXPECTED = "a folder of images, a video, a pattern such as 'photos/*.jpg', image files, a text list, a URL, or camera:0"

_CAMERA = re.compile(r"camera(?::(?P<device>.+))?")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")


@dataclass(frozen=True)
class Recognized:
    """The kind of source that an input is, and its main argument."""

    kind: str
    """Key of `SOURCES`."""
    value: str | list[str]
    """Value of its main argument: a list for ``files``, else text."""

    @property
    def argument(self) -> str:
        """Name of the main argument."""
        return MAIN_ARGUMENT.get(self.kind, "path")


def recognize(inputs: Sequence[str]) -> Recognized:
    """Recognize what one or several words of a command line, or paths in Python, stand for.

    Args:
        inputs: as the user wrote them; whatever exists by such a name is meant literally.

    Raises:
        SourceError: there is no such thing, or it is a single image.
    """
    if len(inputs) != 1:
        return Recognized("files", [_image_file(text) for text in inputs])
    text = inputs[0]
    path = user_path(text)
    if path.is_dir():
        return Recognized("folder", str(path))
    if os.path.lexists(path) and path.exists():
        return _recognize_file(path)
    if camera := _CAMERA.fullmatch(text):
        return Recognized("camera", camera["device"] or "0")
    if _URL.fullmatch(text):
        return Recognized("camera", text)
    if any(sign in text for sign in "*?["):
        return Recognized("glob", text)
    raise SourceError(not_there(path))


def recognize_several(inputs: Sequence[str]) -> list[str]:
    """Find the scenes that several words, or a pattern, stand for: folders, videos and lists, each for itself.

    Returns:
        Existing paths, those of a pattern in the order of their names; nothing where the words are one scene: a single
        input, image files, or names that do not all exist (`recognize` says what is wrong).

    Raises:
        SourceError: a stream or camera, which has no end, stands among them.
    """
    found = [path for text in inputs for path in _matches(text)]
    if (len(inputs) < 2 and found == list(inputs)) or os.path.exists(" ".join(inputs)):
        return []
    if any(_CAMERA.fullmatch(text) or _URL.fullmatch(text) for text in inputs) and len(inputs) > 1:
        raise SourceError("a camera or a stream stands alone, not among several inputs")
    paths = [user_path(text) for text in found]
    is_scene = [path.exists() and path.suffix.lower() not in IMAGE_SUFFIXES for path in paths]
    return list(dict.fromkeys(map(str, paths))) if paths and all(is_scene) else []


def _matches(text: str) -> list[str]:
    """The existing paths of a pattern; anything else as it is."""
    path = user_path(text)
    if os.path.lexists(path) or not any(sign in text for sign in "*?["):
        return [text]
    return sorted(glob.glob(str(path), recursive=True)) or [text]


def not_there(path: Path) -> str:
    """Sentence for a path that does not exist, with the name in its folder that is most like it."""
    try:
        beside = os.listdir(path.parent)
    except OSError:
        return f"{path} does not exist"
    close = difflib.get_close_matches(path.name, beside, n=1)
    return f"{path} does not exist" + (f"; did you mean {path.with_name(close[0])}?" if close else "")


def _recognize_file(path: Path) -> Recognized:
    if stat.S_ISCHR(path.stat().st_mode):
        return Recognized("camera", str(path))
    suffix = path.suffix.lower()
    if suffix in LIST_SUFFIXES:
        return Recognized("list", str(path))
    if suffix in IMAGE_SUFFIXES:
        raise SourceError(f"{path} is a single image; a reconstruction needs several of one scene")
    return Recognized("video", str(path))


def _image_file(text: str) -> str:
    path = user_path(text)
    if path.is_dir():
        raise SourceError(f"{path} is a folder among several inputs: give one folder, or image files only")
    if not path.exists():
        raise SourceError(not_there(path))
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise SourceError(f"{path} is no image, among several inputs: give one video or list, or image files only")
    return str(path)
