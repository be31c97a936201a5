"""Visitors' input: pictures, a folder, a video or the sample, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from common.app.settings import Limits
from common.data.sources.file_names import drop_live_films, drop_twins, natural_key
from common.data.sources.frame_source import FrameSource
from common.data.sources.image_files import ImageFileSource
from common.data.sources.images import IMAGE_SUFFIXES
from common.data.sources.video import VideoSource
from common.errors import InputError
from common.paths import shipped_folder

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")
SAMPLE, FILES, FOLDER = "Sample room", "Pictures or a video", "A folder"
KINDS = (SAMPLE, FILES, FOLDER)
SAMPLE_FOLDER = Path(__file__).with_name("assets") / "sample"
"""30 frames of `common.rooms.room_video`, room 2000 of the held-out ones: nobody's photographs."""


def open_input(kind: str, uploads: Sequence[str] | None, fps: float, limits: Limits) -> FrameSource:
    """Open a visitor's input as a source of frames.

    Args:
        kind: one of `KINDS`.
        uploads: files, for all kinds but the sample.
        fps: frames per second that are taken of a video.
        limits: see `Limits`.

    Raises:
        InputError: there is no input, too much, or no picture or video.
    """
    if kind == SAMPLE:
        files = sorted(SAMPLE_FOLDER.glob("*.jpg"))
        return ImageFileSource([(file.name, file) for file in files], "the sample room")
    paths = [Path(upload) for upload in uploads or ()]
    if not paths:
        raise InputError("Choose some pictures or a video first.")
    if len(paths) > limits.files:
        raise InputError(f"{len(paths)} files are too many: at most {limits.files} can be uploaded at once.")
    if sum(path.stat().st_size for path in paths) > limits.megabytes * 1_000_000:
        raise InputError(f"These files are too large: at most {limits.megabytes} MB can be uploaded at once.")
    names, films = drop_live_films([str(path) for path in paths], VIDEO_SUFFIXES)
    names, twins = drop_twins(names)
    paths = [Path(name) for name in names]
    videos = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
    images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    if videos and (images or len(videos) > 1):
        raise InputError("Give either one video or pictures, not both.")
    if videos:
        return VideoSource(videos[0], fps=fps)
    if not images:
        raise InputError(f"{paths[0].name} is neither a picture nor a video.")
    if len(images) == 1:
        raise InputError("One picture is not enough: a reconstruction needs several pictures of one place.")
    source = ImageFileSource([(path.name, path) for path in _ordered(images)], "the uploaded files")
    source.note_twins([(Path(twin).name, Path(kept).name) for twin, kept in [*films, *twins]])
    return source


def next_step(kind: str, files: Sequence[str] | None, folder: Sequence[str] | None) -> str:
    """A sentence for the visitor: what is chosen, and what to do next."""
    uploads = {FILES: files, FOLDER: folder}.get(kind) or ()
    if kind == SAMPLE:
        return "The sample room is chosen: press Reconstruct."
    if uploads:
        count = "One file is" if len(uploads) == 1 else f"{len(uploads)} files are"
        return f"{count} chosen: press Reconstruct."
    return "Choose a folder of pictures." if kind == FOLDER else "Choose some pictures or a video."


def plain_sentence(error: Exception | str, uploads: Sequence[str] | None) -> str:
    """Error message as a sentence without paths of this machine."""
    text = " ".join(str(error).split()) or "The input could not be used."
    for path in sorted({str(PurePosixPath(upload).parent) for upload in uploads or ()}, key=len, reverse=True):
        text = text.replace(f"{path}/", "")
    for folder in (SAMPLE_FOLDER, shipped_folder()):
        text = text.replace(f"{folder}/", "")
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _ordered(paths: Sequence[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: natural_key(path.name))
