"""The reconstructor that settings ask for."""

from __future__ import annotations

from torch import Tensor

from common.meters import StageTimer
from slam3r.reconstruction.between.keyframe_reconstructor import KeyframeReconstructor
from slam3r.reconstruction.events import Observer
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.reconstructor import Reconstructor
from slam3r.reconstruction.settings import ReconstructionSettings

AnyReconstructor = Reconstructor | KeyframeReconstructor


def start_reconstruction(
    networks: Networks,
    settings: ReconstructionSettings,
    observe: Observer | None = None,
    intrinsics: Tensor | None = None,
    largest_stride: int | None = None,
    timer: StageTimer | None = None,
) -> AnyReconstructor:
    """Start a scene: all frames go through the networks, or only keyframes where ``settings.between`` is on.

    Arguments are those of `Reconstructor`.
    """
    kind = KeyframeReconstructor if settings.between.is_on else Reconstructor
    return kind(networks, settings, observe, intrinsics, largest_stride, timer)
