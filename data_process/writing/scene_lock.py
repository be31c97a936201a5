"""Advisory lock of a scene, which the system releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_process.errors import SceneTakenError


@contextmanager
def scene_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a scene folder, ``.<scene>.lock`` beside it, for the length of the block.

    The holder has exclusive access to the scene, on this machine and on others that share the disk, so temporary files
    there were left by a run that died. File systems without locks give no such protection: there two runs may convert
    the same scene, and the first to finish wins.

    Raises:
        SceneTakenError: another process holds it.
    """
    path = folder.with_name(f".{folder.name}.lock")
    descriptor = _acquire(path)
    try:
        yield
    finally:
        path.unlink(
            missing_ok=True
        )  # before it is released, so that no other process locks a file that is about to be deleted
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """Open and lock the lock file; returns its descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise SceneTakenError(f"{path.name[1:].removesuffix('.lock')} is being written by another run") from None
        except OSError:  # a file system without locks
            return descriptor
        if _is_current(descriptor, path):
            return descriptor
        os.close(descriptor)  # the last holder removed it between opening and locking


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
