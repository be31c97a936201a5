"""Whole-scene reconstruction from a stream of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.lazy import lazy_names

if TYPE_CHECKING:
    from slam3r.reconstruction.frames import RegisteredFrame
    from slam3r.reconstruction.initialization import SequenceTooShort
    from slam3r.reconstruction.networks import Networks
    from slam3r.reconstruction.reconstructor import Reconstructor
    from slam3r.reconstruction.settings import ReconstructionSettings

__all__ = ["Networks", "ReconstructionSettings", "Reconstructor", "RegisteredFrame", "SequenceTooShort"]

_HOMES = {
    "Networks": "slam3r.reconstruction.networks",
    "ReconstructionSettings": "slam3r.reconstruction.settings",
    "Reconstructor": "slam3r.reconstruction.reconstructor",
    "RegisteredFrame": "slam3r.reconstruction.frames",
    "SequenceTooShort": "slam3r.reconstruction.initialization",
}

__getattr__ = lazy_names(__name__, _HOMES)
