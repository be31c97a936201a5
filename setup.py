"""The build step that `pyproject.toml` cannot say: a wheel carries configurations and the small weights.

They lie beside the packages in a checkout, where users edit them, and in ``common/shipped`` of an installed copy, where
`common.paths.shipped_folder` finds them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKED = Path("common", "shipped")
PATTERNS = ("configs/**/*.yaml", "checkpoints/**/config.json", "checkpoints/**/*.safetensors")
SHIPPED_CHECKPOINTS = ("slam3r_tiny", "uni3r_tiny")
"""Others may lie in a checkout, and have other licences."""


class BuildWithShippedFiles(build_py):
    """Copies what ships beside the packages into the build; an editable installation reads the checkout itself."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for file in shipped_files():
                target = Path(self.build_lib, PACKED, file)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / file, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        shipped = [] if self.editable_mode else [str(Path(self.build_lib, PACKED, file)) for file in shipped_files()]
        return [*super().get_outputs(include_bytecode), *shipped]

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *map(str, shipped_files())]


def shipped_files() -> list[Path]:
    """Files that a wheel carries, relative to this folder."""
    files = sorted(file.relative_to(ROOT) for pattern in PATTERNS for file in ROOT.glob(pattern))
    return [file for file in files if file.parts[0] != "checkpoints" or file.parts[1] in SHIPPED_CHECKPOINTS]


setup(cmdclass={"build_py": BuildWithShippedFiles})
