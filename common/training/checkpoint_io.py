"""Training checkpoints on disk: written atomically, and read without unpickling code."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from common.checkpoints.reading import failure_reason
from common.errors import CheckpointError, InputError
from common.files import atomic_path
from common.paths import user_path
from common.training.identity import differences, identity_of

logger = logging.getLogger(__name__)


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning plugin that writes checkpoints atomically.

    The file is streamed, without a second copy in memory; a crash leaves a hidden temporary file and the previous
    checkpoints. Reading accepts only tensors and plain values.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint completely, then rename it into place."""
        if storage_options is not None:
            raise TypeError("storage options are not supported: checkpoints are local files")
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read tensors and plain values on the CPU; tensors are memory-mapped.

        Raises:
            CheckpointError: naming the file, when it is missing, damaged, or holds anything else.
        """
        return _read(Path(path))  # also bare weights, which forked ranks return to their parent


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint; large tensors stay on disk until they are used.

    Raises:
        CheckpointError: naming the file, when it is missing, damaged, or no training checkpoint.
    """
    content = _read(path)
    if (
        not isinstance(content, dict)
        or not isinstance(content.get("global_step"), int)
        or not isinstance(content.get("state_dict"), dict)
    ):
        raise CheckpointError(f"{path} is not a training checkpoint: it has no step or no weights")
    return content


def choose_checkpoint(
    resume: str | None, folder: str | Path, configuration: str | None = None, overwrite: bool = False
) -> Path | None:
    """Choose the checkpoint to resume from.

    Args:
        resume: a file; ``auto`` for the intact one with the most steps in the folder; None for none.
        folder: folder of the run's checkpoints.
        configuration: resolved YAML of the run to resume; None skips the comparison (`common.training.identity`).
        overwrite: when starting from the beginning, move checkpoints of an earlier run to ``earlier`` in the folder.

    Returns:
        The file; None to start from the beginning.

    Raises:
        CheckpointError: the given file is missing or damaged, or a checkpoint belongs to another run. With ``auto``,
            damaged files are logged and skipped.
        InputError: there are checkpoints, and neither `resume` nor `overwrite` was requested.
    """
    present = sorted(path for path in Path(folder).glob("*.ckpt") if not path.name.startswith("."))
    if resume is None:
        _make_room(present, Path(folder), overwrite)
        return None
    if resume != "auto":
        path = user_path(resume)
        content = read_checkpoint(path)
        if (damaged := _damaged_part(path)) is not None:
            raise CheckpointError(f"{path} is not a readable checkpoint: the checksum of {damaged} does not fit")
        _check_run(path, content, configuration)
        return path
    steps: list[tuple[int, float, Path]] = []
    for path in present:
        try:
            content = read_checkpoint(path)
        except CheckpointError as error:
            logger.warning("passing over a damaged checkpoint: %s", error)
            continue
        _check_run(path, content, configuration)
        steps.append((int(content["global_step"]), path.stat().st_mtime, path))
    for step, _, path in sorted(steps, reverse=True):
        damaged = _damaged_part(path)
        if damaged is None:
            logger.info("going on from %s, step %d", path, step)
            return path
        logger.warning("passing over a damaged checkpoint: %s (checksum of %s does not fit)", path, damaged)
    logger.info("no checkpoint in %s: starting from the beginning", folder)
    return None


def _check_run(path: Path, content: dict[str, Any], configuration: str | None) -> None:
    record = content.get("run_record")
    stored = record.get("configuration") if isinstance(record, dict) else None
    if configuration is None or not stored:
        return
    different = differences(identity_of(stored), identity_of(configuration))
    if different:
        raise CheckpointError(
            f"{path} is of another run: {different}; give the same settings, another output, or overwrite=true without "
            "resume to start anew"
        )


def _make_room(present: list[Path], folder: Path, overwrite: bool) -> None:
    if not present:
        return
    if not overwrite:
        raise InputError(
            f"{folder} holds {len(present)} checkpoints of an earlier run: resume=auto resumes from them, "
            "overwrite=true starts anew; or choose another output"
        )
    aside = folder / "earlier"
    aside.mkdir(exist_ok=True)
    for path in present:
        path.replace(aside / path.name)
    logger.warning("starting anew: %d checkpoints of an earlier run are now in %s", len(present), aside)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"no training checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # damaged pickles raise whatever their opcodes run into
        raise CheckpointError(f"{path} is not a readable checkpoint: {failure_reason(error)}") from error


def _damaged_part(path: Path) -> str | None:
    """First part of a file whose checksum does not match; None if all match. Reads the whole file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return str(error)
