"""A small convolutional network whose features come from photographs: EfficientNet-Lite0 up to its last block.

EfficientNet, Tan and Le, ICML 2019; the Lite variant (no squeeze-and-excitation, ReLU6) is Google's, 2020. Batch norms
are folded into the convolutions, so the network has no statistics to keep and no training mode.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STEM_STAGES = (
    # blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""EfficientNet-Lite0, after its first convolution of 32 channels and stride 2."""

STEM_STRIDES = (4, 8, 16, 32)
"""Pixels per cell of the features, fine to coarse."""
STEM_CHANNELS = (24, 40, 112, 320)
"""Channels of the features."""
_FEATURE_STAGES = (1, 2, 4, 6)


class SameConv(nn.Conv2d):
    """Convolution whose output has ceil(size / stride) cells; the odd pixel of padding goes to the right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel == 1 and stride == 1:  # one matrix product, with channels last without a copy
            pixels = F.linear(input.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias)
            return pixels.permute(0, 3, 1, 2)
        height, width = (max(-(-size // stride) * stride - stride + kernel - size, 0) for size in input.shape[-2:])
        if height == width and height % 2 == 0:
            return F.conv2d(input, self.weight, self.bias, stride, height // 2, 1, self.groups)
        padded = F.pad(input, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(padded, self.weight, self.bias, stride, 0, 1, self.groups)


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution and projection, with a skip where shapes allow (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = SameConv(inputs, width, 1) if expansion > 1 else None
        self.depthwise = SameConv(width, width, kernel, stride, groups=width)
        self.project = SameConv(width, outputs, 1)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        wide = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        result = self.project(F.relu6(self.depthwise(wide), inplace=True))
        return x + result if self.skips else result


class ConvolutionalStem(nn.Module):
    """Images to features at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.first = SameConv(3, 32, 3, 2)
        stages, inputs = [], 32
        for count, kernel, stride, expansion, outputs in STEM_STAGES:
            blocks = []
            for number in range(count):
                blocks.append(InvertedBottleneck(inputs, outputs, kernel, 1 if number else stride, expansion))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> list[Tensor]:
        """
        Args:
            images: (B, 3, H, W) RGB in [-1, 1], as the published weights expect.

        Returns:
            (B, channels, ceil(H / stride), ceil(W / stride)) for each of `STEM_STRIDES`.
        """
        x = F.relu6(self.first(images), inplace=True)
        features = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _FEATURE_STAGES:
                features.append(x)
        return features
