"""Training checkpoints on disk: written atomically, and read without unpickling code."""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from common.errors import CheckpointError
from common.files import atomic_path

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
    if not isinstance(content, dict) or "global_step" not in content or "state_dict" not in content:
        raise CheckpointError(f"{path} is not a training checkpoint: it has no step or no weights")
    return content


def choose_checkpoint(resume: str | None, folder: str | Path) -> Path | None:
    """Choose the checkpoint to resume from.

    Args:
        resume: a file; ``auto`` for the intact one with the most steps in the folder; None for none.
        folder: folder of the run's checkpoints.

    Returns:
        The file; None to start from the beginning.

    Raises:
        CheckpointError: the given file is missing or damaged. With ``auto``, damaged files are logged and skipped.
    """
    if resume is None:
        return None
    if resume != "auto":
        path = Path(resume).expanduser()
        read_checkpoint(path)
        return path
    steps: list[tuple[int, float, Path]] = []
    for path in (path for path in Path(folder).glob("*.ckpt") if not path.name.startswith(".")):
        try:
            steps.append((int(read_checkpoint(path)["global_step"]), path.stat().st_mtime, path))
        except CheckpointError as error:
            logger.warning("passing over a damaged checkpoint: %s", error)
    for step, _, path in sorted(steps, reverse=True):
        damaged = _damaged_part(path)
        if damaged is None:
            logger.info("going on from %s, step %d", path, step)
            return path
        logger.warning("passing over a damaged checkpoint: %s (checksum of %s does not fit)", path, damaged)
    logger.info("no checkpoint in %s: starting from the beginning", folder)
    return None


def _read(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"no training checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, OSError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {str(error).splitlines()[0]}") from error


def _damaged_part(path: Path) -> str | None:
    """First part of a file whose checksum does not match; None if all match. Reads the whole file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except zipfile.BadZipFile as error:
        return str(error)
