"""Operations of whole runs, counted without running them, are those of the real networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.models.description import Slam3rDescription, WeightPaths
from slam3r.profiling.operations import CountedNetworks, count_operations, operation_rows, preset
from slam3r.reconstruction import Networks, ReconstructionSettings, Reconstructor
from slam3r.reconstruction.between.settings import BetweenSettings

WIDE = {"encoder_width": 128, "encoder_depth": 2, "encoder_heads": 2}
WIDE |= {"decoder_width": 128, "decoder_depth": 3, "decoder_heads": 2}
SIDE = 64
SETTINGS = ReconstructionSettings(keyframe_stride=2, initial_confidence=0.0, window_radius=2, num_scene_frames=4)


def _counted() -> CountedNetworks:
    with torch.device("meta"):
        return CountedNetworks(ImageToPoints(**WIDE), LocalToWorld(**WIDE), tokens=(SIDE // 16) ** 2)


def test_a_counted_run_has_the_operations_of_a_real_one() -> None:
    torch.manual_seed(0)
    frames = torch.rand(17, 3, SIDE, SIDE) * 2 - 1
    reconstructor = Reconstructor(Networks(ImageToPoints(**WIDE), LocalToWorld(**WIDE)), SETTINGS)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        reconstructor.push(frames)
        reconstructor.flush()
    counts = counter.get_flop_counts()
    # The heads are not in the formulas: one product of a token with all values of its patch, here a sixth of the rest.
    heads = sum(sum(counts[name].values()) for name in counts if name.endswith("_head.projection"))
    found = count_operations(_counted(), SETTINGS, 17).total()
    assert found == pytest.approx(counter.get_total_flops() - heads, rel=0.05)


def test_rows_compare_settings_for_a_sequence() -> None:
    variants = {"published": SETTINGS, "small windows": ReconstructionSettings(keyframe_stride=2, window_radius=1)}
    first, second = operation_rows("toy", _counted(), variants, 24)
    assert first.flops > second.flops and first.stage == "operations a frame, published, 24 frames"
    assert sum(first.details["by_part"].values()) == pytest.approx(24 * first.flops, abs=24)
    assert "1.0 times fewer" in first.details["note"] and "local pointmaps" in second.details["note"]


def test_a_preset_that_chooses_keyframes_has_the_operations_of_these_alone() -> None:
    """The networks see frames 0, 4, .. 20 and the last of 24 at stride 4."""
    settings = preset(Slam3rDescription(name="toy", weights=WeightPaths("", "")), "fast", 4)
    found = count_operations(_counted(), settings, 24)
    assert found == count_operations(_counted(), replace(settings, between=BetweenSettings()), 7)
