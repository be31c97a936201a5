"""Record our own regression vectors, so that the suite stands alone: ``python -m tests.support.make_goldens``.

Inputs are procedural frames and the weight rule, so nothing but this repository is needed. The stored numbers were
recorded when parity with the published code was proven (every vector of ``../shared/parity`` within its tolerance);
record them again only after a change that is meant to change results, and only while `test_parity_models`,
`test_parity_losses` and `test_parity_pipeline` pass on a machine that has those vectors.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction import Networks, ReconstructionSettings, Reconstructor
from slam3r.reconstruction.frames import RegisteredFrame
from tests.support.parity import fill, procedural_frames
from tests.support.paths import GOLDENS

TENSORS, DECISIONS = GOLDENS / "regression.safetensors", GOLDENS / "regression.json"
SIZES = {"encoder_width": 64, "encoder_depth": 3, "encoder_heads": 4}
SIZES |= {"decoder_width": 48, "decoder_depth": 4, "decoder_heads": 4}
DPT_SIZES = {**SIZES, "encoder_depth": 1, "decoder_depth": 10, "head": "dpt"}
SETTINGS = ReconstructionSettings(
    keyframe_stride=-1,
    stride_min=3,
    stride_max=4,
    window_radius=2,
    initial_window=4,
    local_threshold=2.3,
    num_scene_frames=3,
    max_frames_per_round=4,
    buffer_size=4,
    buffer_strategy="reservoir",
)
NUM_FRAMES = 26
CONFIDENCE_OFFSET = 1.0
"""Lifts confidences so that the mask threshold takes few pixels."""


@torch.no_grad()
def record_networks() -> dict[str, Tensor]:
    """Outputs of both networks, maps subsampled so that every position in a patch occurs."""
    i2p = fill(ImageToPoints(**SIZES), "i2p")
    l2w = fill(LocalToWorld(**SIZES), "l2w", "l2w/")
    part = (..., slice(None, None, 5), slice(None, None, 5))
    out: dict[str, Tensor] = {}

    tokens, grid = i2p.encode(procedural_frames(5, 64, 96)[None])
    out["encoder_tokens"] = tokens[0, :2]
    pointmaps, out["i2p_logits"] = i2p.forward_with_correlation(tokens, grid, 2)
    out["i2p_points"], out["i2p_confidence"] = pointmaps.points.movedim(-1, 0)[part], pointmaps.confidence[part]
    out["retrieval_patch_scores"] = i2p.correlation_scores(tokens[0, :2], tokens[0, 2:], grid)

    # Any pointmaps do as input; these are of the size that trained networks see.
    inputs = pointmaps.points / pointmaps.points.norm(dim=-1).mean()
    references, sources = l2w(tokens[:, :2], inputs[:, :2], tokens[:, 2:], inputs[:, 2:], grid)
    for name, maps in (("references", references), ("sources", sources)):
        out[f"l2w_{name}_points"] = maps.points.movedim(-1, 0)[part]
        out[f"l2w_{name}_confidence"] = maps.confidence[part]

    # One landscape window, and one portrait window stored transposed.
    portrait = procedural_frames(2, 96, 64).transpose(-1, -2)
    mixed = torch.stack([procedural_frames(2, 64, 96), portrait])
    pointmaps = i2p(*i2p.encode(mixed, torch.tensor([False, True])), 0)
    out["mixed_points"], out["mixed_confidence"] = pointmaps.points.movedim(-1, 0)[part], pointmaps.confidence[part]

    dpt = fill(ImageToPoints(**DPT_SIZES), "i2p")
    pointmaps = dpt(*dpt.encode(procedural_frames(2, 48, 80)[None]), 0)  # an odd grid
    out["dpt_points"], out["dpt_confidence"] = pointmaps.points.movedim(-1, 0)[part], pointmaps.confidence[part]
    return {name: value.contiguous() for name, value in out.items()}


def reconstruct(images: Tensor) -> tuple[list[RegisteredFrame], dict]:
    """A whole reconstruction, and every decision of it as JSON values."""
    networks = Networks(
        fill(ImageToPoints(**SIZES), "i2p", "", CONFIDENCE_OFFSET),
        fill(LocalToWorld(**SIZES), "l2w", "l2w/", CONFIDENCE_OFFSET),
    )
    events: list[dict] = []
    reconstructor = Reconstructor(
        networks, SETTINGS, lambda event: events.append({"event": type(event).__name__, **asdict(event)})
    )
    registered = reconstructor.push(images) + reconstructor.flush()
    for event in events:  # numbers are compared to a tolerance, as tensors
        event.pop("mean_confidence", None)
        event.pop("scores", None)
    decisions = {"stride": reconstructor.stride, "buffer": reconstructor.buffered_frames, "events": events}
    return registered, json.loads(json.dumps(decisions))


def record_pipeline() -> tuple[dict[str, Tensor], dict]:
    """Numbers and decisions of the reconstruction."""
    registered, decisions = reconstruct(procedural_frames(NUM_FRAMES))
    part = (slice(3, None, 11), slice(3, None, 11))
    numbers = {
        "pipeline_world_points": torch.stack([frame.world_points[part] for frame in registered]),
        "pipeline_world_confidence": torch.stack([frame.world_confidence[part] for frame in registered]),
        "pipeline_local_confidence": torch.stack([frame.local_confidence[part] for frame in registered]),
        "pipeline_mean": torch.tensor([frame.mean_confidence for frame in registered]),
        "pipeline_local_mean": torch.tensor([frame.local_mean_confidence for frame in registered]),
    }
    return {name: value.contiguous() for name, value in numbers.items()}, decisions


def check_margins(decisions: dict) -> None:
    """No decision, and no pixel at the mask threshold, may hang on rounding: other machines round otherwise."""
    images = procedural_frames(NUM_FRAMES)
    for seed in range(3):
        noise = 1e-5 * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
        _, noisy = reconstruct(images + noise)
        assert noisy == decisions, "a decision changes under noise of 1e-5: choose other settings"
    registered, _ = reconstruct(images)
    confidence = torch.stack([frame.local_confidence for frame in registered])
    margin = float((confidence - SETTINGS.local_threshold).abs().min())
    assert margin > 2e-5, f"a pixel is within {margin:.1e} of the mask threshold: choose another"


def main() -> None:
    """Record everything."""
    numbers, decisions = record_pipeline()
    check_margins(decisions)
    save_file(
        {**record_networks(), **numbers},
        TENSORS,
        {"what": "see tests/support/make_goldens.py", "torch": torch.__version__},
    )
    DECISIONS.write_text(json.dumps(decisions) + "\n")
    for path in (TENSORS, DECISIONS):
        print(f"{path.relative_to(Path.cwd())}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
