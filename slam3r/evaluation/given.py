"""Benchmark rows of runs that are told the truth about cameras or depths: what each of them brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from common.data.sources.frame_source import Frame
from common.evaluation.sequence import RgbdSequence
from common.geometry.lens import Lens
from common.known.cameras import KnownCamera, KnownCameras, LensOf

GivenVariant = Literal["given_intrinsics", "given_poses", "given_priors", "given_depth"]
"""True intrinsics; these and poses, fixed or adjusted within 2 cm; true depth at 5 % of the pixels."""
GIVEN: tuple[str, ...] = get_args(GivenVariant)
SHARE = 0.05
"""Share of the pixels whose depth is given."""
_POSES = {"given_intrinsics": "ignore", "given_poses": "fixed", "given_priors": "prior"}


class SparseDepths:
    """The sequence's depth at a random share of the pixels (`common.known.depths.Depths`)."""

    def __init__(self, sequence: RgbdSequence, share: float = SHARE, seed: int = 0) -> None:
        self._sequence, self._share, self._seed = sequence, share, seed

    def find(self, frame: Frame) -> NDArray[np.float32]:
        """(h, w) metres, 0 where nothing is given."""
        depth = self._sequence.depth(frame.index)
        chosen = np.random.default_rng([self._seed, frame.index]).random(depth.shape) < self._share
        return np.where(chosen, depth, 0).astype(np.float32)

    def require_any(self, names: Sequence[str]) -> None:
        """Every frame has a map."""


def known_of(variant: str, sequence: RgbdSequence) -> dict[str, Any]:
    """Arguments of `slam3r.reconstruct` that tell it what the variant says."""
    if variant == "given_depth":
        return {"depths": SparseDepths(sequence)}
    return {"cameras": true_cameras(sequence), "known": {"poses": _POSES[variant]}}


def true_cameras(sequence: RgbdSequence) -> KnownCameras:
    """Poses and intrinsics of a sequence under the names of its frames."""
    lenses: dict[tuple[float, ...], LensOf] = {}
    cameras = []
    for number, pose, matrix in zip(sequence.numbers, sequence.camera_to_world, sequence.intrinsics):
        values = (matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5)
        lens_of = lenses.setdefault(values, _pinhole(values))
        if np.isfinite(pose).all():
            cameras.append((f"{number:06d}", KnownCamera(pose, lens_of)))
    return KnownCameras(cameras, sequence.name)


def _pinhole(values: tuple[float, ...]) -> LensOf:
    return lambda size: Lens("PINHOLE", size, values)
