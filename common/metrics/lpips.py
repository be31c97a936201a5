"""Learned perceptual image patch similarity (LPIPS, Zhang et al. 2018) on VGG-16, without surprise downloads.

The network is torchmetrics' (extra ``train``), which carries the learnt weights of LPIPS; those of VGG-16 are
torchvision's, half a gigabyte, and must be in torch's cache already. As metric and as loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from common.checkpoints.hub import CheckpointError

ImageRange = Literal["zero_to_one", "minus_one_to_one"]


def vgg_weights_path() -> Path:
    """Where torchvision keeps VGG-16; the environment variable TORCH_HOME moves it."""
    from torchvision.models import VGG16_Weights

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(VGG16_Weights.DEFAULT.url).name


def lpips_available() -> bool:
    """Whether `Lpips` can be built here without a download."""
    try:
        import torchmetrics  # noqa: F401
    except ImportError:
        return False
    return vgg_weights_path().is_file()


class Lpips(nn.Module):
    """Distance of two images to human eyes, 0 for equal ones. Frozen; gradients reach the images."""

    def __init__(self, image_range: ImageRange = "minus_one_to_one") -> None:
        """
        Args:
            image_range: how images in [0, 1] enter the network. It was made for [-1, 1]; pixelSplat, NoPoSplat and
                Uni3R feed [0, 1] as it is ("zero_to_one"), which gives smaller distances, comparable only to theirs.

        Raises:
            CheckpointError: when VGG-16 is not in torch's cache, with the place and the way to get it.
            ImportError: naming the extra to install.
        """
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
        except ImportError as error:
            raise ImportError("LPIPS needs torchmetrics: pip install 'slam3r-uni3r[train]'") from error
        if not vgg_weights_path().is_file():
            raise CheckpointError(
                f"LPIPS needs torchvision's VGG-16 at {vgg_weights_path()}; fetch it once with "
                "`python -c 'import torchvision; torchvision.models.vgg16(weights=\"DEFAULT\")'`"
            )
        super().__init__()
        # Only the network inside: the metric around it refuses renderings outside of the image range.
        self.network = LearnedPerceptualImagePatchSimilarity(net_type="vgg").net.requires_grad_(False).eval()
        self.image_range = image_range

    def forward(self, images: Tensor, truth: Tensor) -> Tensor:
        """(..., 3, H, W) images in [0, 1], renderings not clamped, to (...) distances."""
        lead = images.shape[:-3]
        pair = (part.flatten(0, -4) if part.ndim > 3 else part[None] for part in (images, truth))
        return self.network(*pair, normalize=self.image_range == "minus_one_to_one").reshape(lead)
