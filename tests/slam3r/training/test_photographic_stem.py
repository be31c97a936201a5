"""The stem's weights: folded exactly, found in their package, and missed in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from common.backbone.stem.network import STEM_STAGES, ConvolutionalStem
from common.errors import ConfigurationError
from slam3r.models import ImageToPoints
from slam3r.training import photographic_stem
from slam3r.training.photographic_stem import folded, with_photographic_stem

SIZES = {
    "encoder_width": 32,
    "encoder_depth": 2,
    "encoder_heads": 2,
    "decoder_width": 32,
    "decoder_depth": 4,
    "decoder_heads": 2,
}


def published_state() -> dict[str, torch.Tensor]:
    """Random tensors under the package's names, with lively batch statistics."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def add(convolution: str, norm: str, like: torch.Tensor) -> None:
        state[f"{convolution}.weight"] = torch.randn(like.shape, generator=generator) / like[0].numel() ** 0.5
        for name in ("weight", "running_var"):
            state[f"{norm}.{name}"] = torch.rand(len(like), generator=generator) + 0.5
        for name in ("bias", "running_mean"):
            state[f"{norm}.{name}"] = 0.1 * torch.randn(len(like), generator=generator)

    stem, number = ConvolutionalStem(), 0
    add("_conv_stem", "_bn0", stem.first.weight)
    for stage, (count, *_) in zip(stem.stages, STEM_STAGES, strict=True):
        for block in range(count):
            part = stage[block]
            names = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
            for ours, (convolution, norm) in {**names, "project": ("_project_conv", "_bn2")}.items():
                layer = getattr(part, ours)
                if layer is not None:
                    add(f"_blocks.{number}.{convolution}", f"_blocks.{number}.{norm}", layer.weight)
            number += 1
    return state


@torch.no_grad()
def test_a_folded_convolution_is_the_convolution_and_its_norm() -> None:
    state, stem = published_state(), ConvolutionalStem()
    stem.load_state_dict(folded(state))
    norm = nn.BatchNorm2d(32, eps=1e-3).eval()
    norm.load_state_dict(
        {name: state[f"_bn0.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}, strict=False
    )
    image = torch.rand(1, 3, 32, 32)
    padded = nn.functional.pad(image, (0, 1, 0, 1))  # an even side: all of the padding at the far end
    expected = norm(nn.functional.conv2d(padded, state["_conv_stem.weight"], stride=2))
    torch.testing.assert_close(stem.first(image), expected)


def test_the_stem_is_filled_and_travels_with_the_weights(tmp_path: Path) -> None:
    torch.save(published_state(), tmp_path / "lite0.pth")
    model = with_photographic_stem(ImageToPoints(**SIZES, stem=True, head="smoothed"), tmp_path / "lite0.pth")
    model.save_pretrained(tmp_path / "weights")
    read = ImageToPoints.from_pretrained(tmp_path / "weights")
    assert read.sight is not None
    expected = folded(published_state())["stages.4.1.project.bias"]
    assert torch.equal(read.sight.stem.state_dict()["stages.4.1.project.bias"], expected)


def test_a_network_without_a_stem_is_an_error_unless_nothing_is_asked() -> None:
    plain = ImageToPoints(**SIZES)
    with pytest.raises(ConfigurationError, match="has no stem to fill"):
        with_photographic_stem(plain)
    assert with_photographic_stem(plain, enabled=False) is plain


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographic_stem, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(ConfigurationError, match="pip install a-package-that-is-not-there"):
        with_photographic_stem(ImageToPoints(**SIZES, stem=True))
