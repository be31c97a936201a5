"""New pictures as users name them: single ones, several, a folder, a pattern or a film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.data.sources.frame_source import FrameSource
from common.data.sources.image_files import FilesSource, FolderSource, GlobSource, ImageFileSource
from common.data.sources.images import IMAGE_SUFFIXES
from common.data.sources.open import open_source
from common.data.sources.recognition import recognize
from common.errors import ConfigurationError
from common.paths import user_path

Pictures = str | Path | Sequence[str | Path]
"""Image files, or one folder, pattern, list or video."""


def open_pictures(words: Pictures, every: int = 1) -> FrameSource:
    """A source of new pictures; a single one is enough.

    Args:
        words: image files, or one folder, pattern, list or video.
        every: take every n-th.

    Raises:
        ConfigurationError: nothing was named.
        SourceError: there is nothing of the kind.
    """
    texts = [str(word) for word in ([words] if isinstance(words, (str, Path)) else words)]
    if not texts:
        raise ConfigurationError("pictures: none given; expected image files, a folder, a pattern or a video")
    path = user_path(texts[0])
    if len(texts) == 1 and path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFileSource([(texts[0], path)], "files", min_frames=1)
    found = recognize(texts)
    if found.kind == "files":
        return FilesSource(list(found.value), every=every, min_frames=1)
    if found.kind == "folder":
        return FolderSource(str(found.value), every=every, min_frames=1)
    if found.kind == "glob":
        return GlobSource(str(found.value), every=every, min_frames=1)
    if found.kind == "camera":
        raise ConfigurationError(f"pictures: {texts[0]} has no end; record it to a file first")
    return open_source(texts[0], every=every)
