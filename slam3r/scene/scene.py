"""A reconstructed scene that can be saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.configuration import to_dataclass
from slam3r.scene.outputs import COLMAP, RESULTS, write_results
from slam3r.scene.scene_data import SceneData
from slam3r.scene.settings import ExportSettings


class Scene(SceneData):
    """A reconstructed scene, the result of `slam3r.reconstruct`."""

    def save(self, folder: str | Path, overwrite: bool = False, **options: Any) -> list[Path]:
        """Write ``points.ply``, ``trajectory.txt``, ``transforms.json``, pictures and ``summary.json``.

        Args:
            folder: created if needed.
            overwrite: replace the results of an earlier run there.
            **options: fields of `slam3r.scene.settings.ExportSettings` that concern files, e.g. ``colmap=True``.

        Returns:
            The files and folders that were written.

        Raises:
            OutputExists: there are results in the folder, and `overwrite` is off.
        """
        export = to_dataclass(options, ExportSettings)
        RESULTS.check(folder, overwrite, [COLMAP] if export.colmap else [])
        return write_results(self, folder, export)


Reconstruction = Scene
"""The class under its earlier public name."""
