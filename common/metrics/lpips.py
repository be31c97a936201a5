"""Learned perceptual image patch similarity (LPIPS, Zhang et al. 2018) on VGG-16, without implicit downloads.

The network is torchmetrics' (extra ``train``), which carries the learnt weights of LPIPS; those of VGG-16 are
torchvision's, half a gigabyte, and must be in torch's cache already, or in a file. As metric and as loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import VGG16_Weights

from common.checkpoints.reading import read_state_dict
from common.errors import CheckpointError
from common.paths import user_path

ImageRange = Literal["zero_to_one", "minus_one_to_one"]
_SLICES = (4, 9, 16, 23, 30)
"""End indices of the five slices of VGG-16, each a ReLU whose output is compared."""


def vgg_weights_path() -> Path:
    """Path where torchvision caches VGG-16; the environment variable TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(VGG16_Weights.DEFAULT.url).name


def lpips_available() -> bool:
    """Whether `Lpips` can be built here without a download."""
    try:
        import torchmetrics  # noqa: F401
    except ImportError:
        return False
    return vgg_weights_path().is_file()


class Lpips(nn.Module):
    """Perceptual distance of two images, 0 for equal ones. Frozen; gradients reach the images."""

    def __init__(self, image_range: ImageRange = "minus_one_to_one", weights: str | Path | None = None) -> None:
        """
        Args:
            image_range: range that the network receives. LPIPS was made for [-1, 1]; pixelSplat, NoPoSplat and Uni3R
                feed [0, 1] ("zero_to_one"), which gives smaller distances, comparable only to theirs.
            weights: file of torchvision's VGG-16, or the state of a whole ``lpips.LPIPS(net="vgg")`` of the authors'
                package; None takes torch's cache.

        Raises:
            CheckpointError: VGG-16 is neither in the cache nor in the file; the message says how to get it.
            ImportError: naming the extra to install.
        """
        try:
            from torchmetrics.functional.image.lpips import _LPIPS
        except ImportError as error:
            raise ImportError("LPIPS needs torchmetrics: bash scripts/setup.sh train") from error
        path = vgg_weights_path() if weights is None else user_path(weights)
        if not path.is_file():
            raise CheckpointError(
                f"LPIPS needs torchvision's VGG-16 at {path}; fetch it once with "
                "`python -c 'import torchvision; torchvision.models.vgg16(weights=\"DEFAULT\")'`"
            )
        state = _published_names(read_state_dict(path), path)
        super().__init__()
        # Only the inner network: the metric around it rejects renderings outside of the image range, and downloads.
        self.network = _LPIPS(net="vgg", pnet_rand=True).requires_grad_(False).eval()
        missing, _ = self.network.load_state_dict(state, strict=False)
        if any(name.startswith("net.") for name in missing):
            raise CheckpointError(f"{path} lacks layers of VGG-16: {', '.join(missing[:4])}")
        self.image_range = image_range

    def train(self, mode: bool = True) -> Lpips:
        """Keep evaluation mode, since the network has dropout."""
        return super().train(False)

    def forward(self, images: Tensor, truth: Tensor) -> Tensor:
        """(..., 3, H, W) images in [0, 1], renderings not clamped, to (...) distances."""
        lead = images.shape[:-3]
        pair = (part.flatten(0, -4) if part.ndim > 3 else part[None] for part in (images, truth))
        return self.network(*pair, normalize=self.image_range == "minus_one_to_one").reshape(lead)


def _published_names(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Rename torchvision's layers, which are only numbered, to the names of LPIPS."""
    renamed = {key: tensor for key, tensor in state.items() if key.startswith(("net.slice", "lin"))}
    for key, tensor in state.items():
        if key.startswith("features."):
            layer = int(key.split(".")[1])
            part = next((index for index, end in enumerate(_SLICES, 1) if layer < end), None)
            if part is not None:
                renamed[f"net.slice{part}.{key.removeprefix('features.')}"] = tensor
    if not any(key.startswith("net.") for key in renamed):
        raise CheckpointError(
            f"{path} holds no VGG-16: expected features.0.weight .. as torchvision names them, or net.slice1.0.weight "
            ".. of a whole LPIPS network (the small vgg.pth of the lpips package, which torchmetrics has, is no VGG-16)"
        )
    return renamed
