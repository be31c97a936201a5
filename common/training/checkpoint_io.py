"""Training checkpoints on disk: whole or absent, and read without unpickling code."""

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
    """Lightning's plugin for files that appear under their name only once they are on disk in full.

    The file is written as it is made, without a second copy in memory; a crash leaves a hidden temporary file and the
    previous checkpoints. Reading admits tensors and plain values only.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write all of a checkpoint, then give it its name."""
        if storage_options is not None:
            raise TypeError("storage options are not supported: checkpoints are local files")
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read tensors and plain values to the processor; the tensors are mapped, not copied.

        Raises:
            CheckpointError: naming the file, when it is missing, damaged, or holds anything else.
        """
        return _read(Path(path))  # also weights alone, which forked ranks hand to their parent


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a training checkpoint; large tensors stay on disk until they are used.

    Raises:
        CheckpointError: naming the file, when it is missing, damaged, or no training checkpoint.
    """
    content = _read(path)
    if not isinstance(content, dict) or "global_step" not in content or "state_dict" not in content:
        raise CheckpointError(f"{path} is not a training checkpoint: it has no step or no weights")
    return content


def choose_checkpoint(resume: str | None, folder: str | Path) -> Path | None:
    """The checkpoint to go on from.

    Args:
        resume: a file; ``auto`` for the one with the most steps among the whole ones in the folder; None for none.
        folder: where the run keeps its checkpoints.

    Returns:
        The file; None to start from the beginning.

    Raises:
        CheckpointError: when the named file is missing or damaged. With ``auto`` damaged files are named in the log
            and passed over.
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
    """The first part of a file whose checksum does not fit; None when all do. Reads the whole file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except zipfile.BadZipFile as error:
        return str(error)
