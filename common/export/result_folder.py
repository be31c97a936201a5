"""The folder that a run leaves behind: whether it may be written, and the files that every kind of run has in it.

Every file is written atomically, the summary last: a folder with a summary is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.export.ply import write_ply
from common.export.trajectory import write_tum
from common.files import (
    atomic_path,
    check_writable,
    read_json,
    remove_leftovers,
    swap_entries,
    temporary_folder,
    write_json,
)
from common.paths import user_path

POINTS, TRAJECTORY, TRANSFORMS, SUMMARY = "points.ply", "trajectory.txt", "transforms.json", "summary.json"
GAUSSIANS, MESH = "gaussians.ply", "mesh.ply"
UNREFINED_POINTS, UNREFINED_TRAJECTORY = "unrefined.ply", "unrefined_trajectory.txt"
"""A refined scene as it was before."""


class OutputExists(InputError):
    """A folder holds the results of an earlier run, and overwriting was not requested."""


@dataclass(frozen=True)
class ResultFolder:
    """File names of the results of one kind of run."""

    files: tuple[str, ...]
    """Names of files that such a run writes, some of them only on request."""
    folders: tuple[str, ...]
    """Names of folders that it writes on request. Its summary lists them as ``written``."""

    def check(self, path: str | Path, overwrite: bool, wanted: Sequence[str] | None = None) -> None:
        """Check that results may be written; nothing is made or removed.

        Args:
            path: where to write.
            overwrite: results of an earlier run may be replaced.
            wanted: folders that will be written; None for all. A folder is replaced only if the summary of an earlier
                run lists it: ``images`` and ``sparse`` are also what others call their input.

        Raises:
            OutputExists: there are results and `overwrite` is off, or a folder is of unknown origin.
            InputError: nothing can be written there; see `common.files.check_writable`.
        """
        path = user_path(path)
        check_writable(path, self.files)
        found = [name for name in self.files if (path / name).exists()]
        if found and not overwrite:
            raise OutputExists(
                f"output {path} already holds {', '.join(found)}; "
                "choose another folder, or replace them with overwrite=true"
            )
        wanted = self.folders if wanted is None else wanted
        foreign = [name for name in wanted if (path / name).exists() and name not in self.written_before(path)]
        if foreign:
            raise OutputExists(
                f"output {path} holds {', '.join(foreign)} of unknown origin; move it away, or write elsewhere"
            )

    @contextmanager
    def staged(self, path: str | Path) -> Iterator[Path]:
        """Context of an empty folder whose content replaces the earlier results when all of it is written.

        A result appears whole or not at all: until the block has ended without an exception, nothing of an earlier run
        is touched, and if a file cannot take its place then, all earlier ones come back.

        Args:
            path: the result folder, created if needed. Its summary is removed first and comes last.
        """
        folder = user_path(path)
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        try:
            with temporary_folder(folder, "results") as stage:
                yield stage
                stale = {*self.files, *self.written_before(folder)}
                new = [name for name in (*self.folders, *self.files) if (stage / name).exists()]
                # The summary goes first and comes last: without it, a folder counts as incomplete.
                swap_entries(
                    folder,
                    stage,
                    sorted(stale, key=lambda name: name != SUMMARY),
                    sorted(new, key=lambda name: name == SUMMARY),
                )
        except BaseException:
            if is_new:
                with suppress(OSError):  # not empty: others have written to it meanwhile
                    folder.rmdir()
            raise

    def written_before(self, path: Path) -> set[str]:
        """Return those of `folders` that an earlier run wrote to a place, as its summary says."""
        try:
            return set(self.folders) & set(read_json(path / SUMMARY)["written"])
        except (OSError, ValueError, KeyError, TypeError):
            return set()


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the summary of a result folder; empty where it has none.

    Raises:
        InputError: the file is not the summary of a run.
    """
    path = folder / SUMMARY
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not the summary of a run ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not the summary of a run (it is no object)")
    return content


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB in the format that the suffix names, atomically.

    Raises:
        OSError: the image cannot be written.
    """
    import cv2  # when the first picture is written: the names of results are asked for by help pages too

    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
            raise OSError(f"cannot write {path}")


def write_map(
    folder: Path,
    points: tuple[NDArray, NDArray, NDArray] | None,
    seconds: NDArray,
    poses: NDArray,
    summary: Mapping[str, Any],
    summary_name: str = SUMMARY,
) -> None:
    """Write a map: its points as PLY, its poses as a TUM trajectory, and a summary.

    Args:
        folder: exists; see `common.files.atomic_folder` for one that appears when it is complete.
        points: (N, 3) float positions in the world, (N, 3) uint8 RGB and (N,) confidences; None for no map.
        seconds: (F,) timestamps of the poses.
        poses: (F, 4, 4) camera-to-world.
        summary: JSON values.
        summary_name: file of the summary.
    """
    if points is not None:
        write_ply(folder / POINTS, *points)
    write_tum(folder / TRAJECTORY, seconds, np.asarray(poses, np.float64).reshape(-1, 4, 4))
    write_json(folder / summary_name, summary)
