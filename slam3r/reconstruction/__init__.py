"""Whole-scene reconstruction from a stream of frames."""

from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.reconstructor import Reconstructor, SequenceTooShort
from slam3r.reconstruction.settings import ReconstructionSettings

__all__ = ["Networks", "ReconstructionSettings", "Reconstructor", "RegisteredFrame", "SequenceTooShort"]
