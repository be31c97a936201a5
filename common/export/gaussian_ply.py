"""Reading Gaussians from the PLY of 3D Gaussian splatting (Kerbl et al. 2023) as numpy arrays."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.export.ply_reading import read_vertices

POSITION = ("x", "y", "z")
CONSTANT_COLOR = tuple(f"f_dc_{channel}" for channel in range(3))
SCALE = tuple(f"scale_{axis}" for axis in range(3))
ROTATION = tuple(f"rot_{part}" for part in range(4))
REST, SEMANTIC = "f_rest_", "semantic_"
_CONSTANT_HARMONIC = 0.5 / np.sqrt(np.pi)


@dataclass(frozen=True)
class GaussianPly:
    """N Gaussians, float32."""

    means: NDArray[np.float32]
    """(N, 3) world."""
    scales: NDArray[np.float32]
    """(N, 3) standard deviations."""
    rotations: NDArray[np.float32]
    """(N, 4) quaternions (w, x, y, z), as written."""
    opacities: NDArray[np.float32]
    """(N,) in [0, 1]."""
    harmonics: NDArray[np.float32]
    """(N, K, 3) coefficients of the colour, red, green, blue; the first is the constant one."""
    features: NDArray[np.float32] | None
    """(N, C), or None."""

    @property
    def colors(self) -> NDArray[np.uint8]:
        """(N, 3) RGB, without what depends on the direction of view."""
        return np.clip(255 * (self.harmonics[:, 0] * _CONSTANT_HARMONIC + 0.5), 0, 255).astype(np.uint8)


def read_gaussian_ply(path: str | os.PathLike[str]) -> GaussianPly:
    """Read a file written by 3D Gaussian splatting, Uni3R or any editor of such files.

    Raises:
        InputError: the file is missing, not a PLY, or lacks properties of a Gaussian.
    """
    try:
        rows = read_vertices(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    names = rows.dtype.names or ()
    missing = [name for name in (*POSITION, *CONSTANT_COLOR, "opacity", *SCALE, *ROTATION) if name not in names]
    if missing:
        raise InputError(f"{path} is not a PLY of Gaussians: it lacks {', '.join(missing)}")
    rest, semantic = _numbered(names, REST), _numbered(names, SEMANTIC)
    if len(rest) % 3 or round((len(rest) / 3 + 1) ** 0.5) ** 2 != len(rest) / 3 + 1:
        raise InputError(f"{path}: {len(rest)} f_rest properties fit no degree of spherical harmonics")
    constant = _read(rows, CONSTANT_COLOR)[:, None]
    directional = _read(rows, rest).reshape(len(rows), 3, -1).swapaxes(1, 2) if rest else constant[:, :0]
    with np.errstate(over="ignore"):  # infinite scales and logits are the file's own
        scales = np.exp(_read(rows, SCALE))
        opacities = (1 / (1 + np.exp(-_read(rows, ("opacity",))[:, 0]))).astype(np.float32)
    return GaussianPly(
        means=_read(rows, POSITION),
        scales=scales,
        rotations=_read(rows, ROTATION),
        opacities=opacities,
        harmonics=np.concatenate([constant, directional], axis=1),
        features=_read(rows, semantic) if semantic else None,
    )


def _numbered(names: tuple[str, ...], prefix: str) -> tuple[str, ...]:
    """The properties prefix0, prefix1, .. in order of their numbers."""
    found = [name for name in names if name.startswith(prefix) and name[len(prefix) :].isdigit()]
    return tuple(sorted(found, key=lambda name: int(name[len(prefix) :])))


def _read(rows: NDArray[np.void], names: tuple[str, ...]) -> NDArray[np.float32]:
    """(N, len(names))."""
    return np.stack([rows[name] for name in names], axis=-1).astype(np.float32)
