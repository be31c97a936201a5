"""VGGT's camera head: a camera token per view, refined into a pose in four rounds (Wang et al. 2025).

Released Uni3R weights contain the head as VGGT trained it, while the backbone was trained further, so their cameras
are worse than VGGT's; cameras from the pointmaps (`common.geometry.poses`) are the better choice there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.backbone.blocks import Block, Mlp
from uni3r.models.pose_encoding import ENCODING_SIZE


class CameraHead(nn.Module):
    """Camera tokens to pose encodings (`uni3r.models.pose_encoding`); views attend to each other."""

    def __init__(self, width: int, depth: int = 4, num_heads: int = 16, rounds: int = 4) -> None:
        """
        Args:
            width: channels of the camera tokens.
            depth: blocks of the trunk, which all rounds share.
            num_heads: attention heads.
            rounds: number of refinements.
        """
        super().__init__()
        self.rounds = rounds
        self.token_norm = nn.LayerNorm(width)
        self.first_encoding = nn.Parameter(torch.zeros(1, 1, ENCODING_SIZE))
        self.embed = nn.Linear(ENCODING_SIZE, width)
        self.modulation = nn.Linear(width, 3 * width)
        self.trunk = nn.ModuleList(Block(width, num_heads, norm_eps=1e-5, layer_scale=0.01) for _ in range(depth))
        self.trunk_norm = nn.LayerNorm(width)
        self.refine = Mlp(width, width // 2, ENCODING_SIZE)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """(B, V, C) camera tokens of the last level to encodings (B, V, 9) after every round; the last is the best."""
        with torch.autocast(tokens.device.type, enabled=False):
            normal = self.token_norm(tokens.float())
            sums = self.first_encoding.expand(*tokens.shape[:2], -1)
            rounds: list[Tensor] = []
            for number in range(self.rounds):
                # Gradients reach a round only through its own update; the learned initial value is the exception.
                change = self._step(normal, sums.detach() if number else sums)
                sums = sums.detach() + change if number else change
                rounds.append(torch.cat([sums[..., :7], F.relu(sums[..., 7:])], dim=-1))
        return rounds

    def _step(self, normal: Tensor, encoding: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(F.silu(self.embed(encoding))).chunk(3, dim=-1)
        modulated = F.layer_norm(normal, normal.shape[-1:], eps=1e-6) * (1 + scale) + shift
        x = normal + gate * modulated
        for block in self.trunk:
            x = block(x)
        return self.refine(self.trunk_norm(x))
