"""Opens a source of frames from a path, a pattern, a list, a video, images in memory, or a configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import get_object
from omegaconf import OmegaConf
from torch import Tensor

from common.configuration import call_target
from common.data.sources.frame_source import FrameSource, SourceError
from common.data.sources.image_files import ImageFileSource
from common.data.sources.memory import ArraySource
from common.data.sources.recognition import SOURCES, recognize
from common.errors import ConfigurationError
from common.paths import user_path


def open_source(what: Any, **options: Any) -> FrameSource:
    """A source of frames from what people have at hand.

    Args:
        what: a `FrameSource`; a folder of images; a text list of images (.txt); a pattern with ``*``; a video file;
            the address of a stream; ``camera:0``; a sequence of image paths; or images in memory as for `ArraySource`.
        **options: for the source that is chosen, e.g. ``every=2`` or ``on_bad_image="skip"``.

    Raises:
        SourceError: there is nothing of the kind.
    """
    if isinstance(what, FrameSource):
        return what
    if isinstance(what, (Tensor, np.ndarray)):
        return ArraySource(what, **options)
    if isinstance(what, (str, os.PathLike)):
        found = recognize([os.fspath(what)])
        return SOURCES[found.kind](found.value, **options)  # type: ignore[call-arg]
    if isinstance(what, Sequence) and what:
        if all(isinstance(item, (str, os.PathLike)) for item in what):
            files = [(Path(item).as_posix(), user_path(item)) for item in what]
            return ImageFileSource(files, "list of files", **options)
        return ArraySource(what, **options)
    raise SourceError(f"cannot read frames from {type(what).__name__}; give a folder, a pattern, a video or images")


def source_from_config(config: Any) -> FrameSource:
    """The source that a ``configs/source`` file describes: ``_target_`` and the arguments of that class.

    Raises:
        ConfigurationError: a value is missing, of another type than the class asks for, or out of range.
        SourceError: the source has nothing usable.
    """
    values: Any = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    arguments: dict[str, Any] = dict(values)
    target = arguments.pop("_target_", None)
    if target is None:
        raise ConfigurationError("source: no _target_, choose one of the files in configs/source")
    return call_target(get_object(target), arguments, "source")
