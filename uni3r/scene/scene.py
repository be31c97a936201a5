"""A scene that Uni3R built, as users hold it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from uni3r.scene.outputs import RESULTS, write_results
from uni3r.scene.scene_data import SceneData
from uni3r.scene.settings import ExportSettings


@dataclass
class Scene(SceneData):
    """Scene data that can be saved."""

    def save(self, folder: str | Path, export: ExportSettings | None = None, overwrite: bool = False) -> list[Path]:
        """Write Gaussians, pictures, films and a summary; see `uni3r.scene.outputs.write_results`.

        Raises:
            OutputExists: the folder holds results of an earlier run and `overwrite` is off.
            ConfigurationError: queries are given, and the scene has no text encoder.
        """
        RESULTS.check(folder, overwrite)
        return write_results(self, folder, export)
