"""The networks at their published widths on a GPU that does not exist: every shape, type and device, without a value.

Under FakeTensorMode the real Python code runs on tensors that claim to be on CUDA; an operation on two devices raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from common.backbone.patch_embed import _cached_rotary
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction import Networks
from uni3r.models.uni3r import Uni3R

CUDA = torch.device("cuda", 0)
TOKENS = (14 * 14, 1024)
SHALLOW = {"encoder_depth": 2, "decoder_depth": 4}
"""All layers are alike; these suffice."""


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(nn.Module, "to", moved)
    monkeypatch.setattr(nn.Module, "float", lambda module: moved(module, torch.float32))
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    _cached_rotary.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=False):
        yield
    _cached_rotary.cache_clear()


def moved(module: nn.Module, *target: Any) -> nn.Module:
    """`Module.to` by new parameters: torch cannot swap fake ones."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(parameter.detach().to(*target)))
        for name, buffer in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, buffer.to(*target))
    return module


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, device=CUDA)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_slam3r(dtype: torch.dtype) -> None:
    networks = Networks(ImageToPoints(**SHALLOW), LocalToWorld(**SHALLOW), CUDA, dtype)
    tokens, grid = networks.encode(torch.zeros(10, 3, 224, 224), batch=4)
    assert tokens.shape == (10, *TOKENS) and tokens.device == CUDA and tokens.dtype == torch.float32
    window = networks.window_pointmaps(tokens[None], grid)
    assert window.points.shape == (1, 10, 224, 224, 3) and window.points.dtype == torch.float32
    sources = networks.start_sources(zeros(20, *TOKENS), grid).items(2)
    local = networks.local_pointmaps(tokens[:2], sources, grid)
    assert local.points.shape == (2, 224, 224, 3)
    points = zeros(10, 224, 224, 3)
    references = networks.start_references(tokens, points, grid)
    world = networks.register(references, tokens[None, :5], points[None, :5], grid)
    assert world.confidence.shape == (1, 5, 224, 224) and world.confidence.device == CUDA
    scores = networks.correlation(tokens[:5], zeros(40, *TOKENS), grid, batch=4)
    assert scores.shape == (40,) and scores.device == CUDA


@pytest.mark.parametrize("autocast", [False, True])
def test_uni3r(autocast: bool) -> None:
    """Backbone and heads; what follows asks for values, see `tests/uni3r/test_gpu_path.py`."""
    network = Uni3R(**SHALLOW).to(CUDA)
    images = zeros(1, 2, 3, 256, 256)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        pyramid = network.backbone(images, zeros(1, 2, 3, 3))
        assert pyramid.levels[-1].dtype == torch.float32  # the stream is not rounded
        points = network.geometry(pyramid).pointmaps.points
        attributes = network.attribute_head(pyramid.levels, pyramid.grid, images)
    assert points.shape == (1, 2, 256, 256, 3) and points.device == CUDA
    assert attributes.shape[:4] == (1, 2, 256, 256) and attributes.device == CUDA
