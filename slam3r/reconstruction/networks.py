"""The two networks behind an interface for single frames, batched internally."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from common.backbone import PatchGrid, ViewStart
from common.backbone.precision import set_compute_dtype
from common.views import Pointmaps
from slam3r.models import ImageToPoints, LocalToWorld


class Networks:
    """I2P and L2W on one device, without gradients; holds no state of a scene."""

    def __init__(
        self,
        image_to_points: ImageToPoints,
        local_to_world: LocalToWorld,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        memory_chunk: int | None = None,
    ) -> None:
        """
        Args:
            image_to_points: I2P; its encoder makes the tokens of both.
            local_to_world: L2W, for tokens of the same width.
            device: where to run; the models are moved there.
            dtype: type of the matrix products (see `common.backbone.precision`).
            memory_chunk: memory views attended at once.

        Raises:
            ValueError: the two models are incompatible.
        """
        i2p, l2w = image_to_points.config, local_to_world.config
        if (i2p.encoder_width, i2p.patch_size) != (l2w.encoder_width, l2w.patch_size):
            raise ValueError(
                f"the two models do not belong together: I2P gives tokens of {i2p.encoder_width} channels for patches "
                f"of {i2p.patch_size}, L2W reads {l2w.encoder_width} and {l2w.patch_size}"
            )
        self.image_to_points = set_compute_dtype(image_to_points.to(device).eval(), dtype)
        self.local_to_world = set_compute_dtype(local_to_world.to(device).eval(), dtype)
        self.device = torch.device(device)
        self.memory_chunk = memory_chunk

    def sizes(self) -> dict[str, dict[str, Any]]:
        """Sizes that tokens and pointmaps depend on, as JSON values, without the weights."""
        return {
            "image_to_points": self.image_to_points.config.to_dict(),
            "local_to_world": self.local_to_world.config.to_dict(),
        }

    @torch.inference_mode()
    def encode(self, images: Tensor, batch: int) -> tuple[Tensor, PatchGrid]:
        """(F, 3, H, W) images in [-1, 1] to (F, N, E) tokens, ``batch`` at a time, and their grid."""
        tokens, grid = self.image_to_points.encode(images.to(self.device)[:, None], chunk=batch)
        return tokens[:, 0], grid

    @torch.inference_mode()
    def window_pointmaps(self, tokens: Tensor, grid: PatchGrid) -> Pointmaps:
        """(B, V, N, E) windows to the pointmaps of all views in the frame of view 0, (B, V, H, W, ..)."""
        return self.image_to_points(tokens, grid, 0, self.memory_chunk)

    @torch.inference_mode()
    def start_sources(self, tokens: Tensor, grid: PatchGrid) -> ViewStart:
        """(F, N, E) frames as sources of I2P, in one item; see `ImageToPoints.start_sources`."""
        return self.image_to_points.start_sources(tokens[None], grid)

    @torch.inference_mode()
    def start_references(self, tokens: Tensor, points: Tensor, grid: PatchGrid) -> ViewStart:
        """(F, N, E) frames with world points (F, H, W, 3) as references of L2W, in one item."""
        return self.local_to_world.start_references(tokens[None], points[None], grid)

    @torch.inference_mode()
    def local_pointmaps(self, references: Tensor, sources: ViewStart, grid: PatchGrid) -> Pointmaps:
        """(B, N, E) frames and their neighbours (B, S, ..) to the frames' own pointmaps, (B, H, W, ..)."""
        return self.image_to_points.reference_pointmap(references, sources, grid, self.memory_chunk)

    @torch.inference_mode()
    def neighbour_pointmaps(self, references: Tensor, sources: ViewStart, grid: PatchGrid) -> Pointmaps:
        """Like `local_pointmaps`, but of all views, (B, 1 + S, H, W, ..)."""
        return self.image_to_points.window_pointmaps(references, sources, grid, self.memory_chunk)

    @torch.inference_mode()
    def correlation(self, queries: Tensor, candidates: Tensor | ViewStart, grid: PatchGrid, batch: int) -> Tensor:
        """(Q, N, E), and (C, N, E) or their start, to (C,): mean patch score of candidates over queries and tokens."""
        parts = [
            self.image_to_points.correlation_scores(queries[i : i + batch], candidates, grid, self.memory_chunk)
            for i in range(0, len(queries), batch)
        ]
        return torch.cat(parts).mean(dim=(0, 2))

    @torch.inference_mode()
    def register(
        self, references: ViewStart, source_tokens: Tensor, source_points: Tensor, grid: PatchGrid
    ) -> Pointmaps:
        """World pointmaps (B, S, H, W, ..) of sources (B, S, ..) given references (1, R, ..). See `LocalToWorld`."""
        return self.local_to_world.register(references, source_tokens, source_points, grid, self.memory_chunk)
