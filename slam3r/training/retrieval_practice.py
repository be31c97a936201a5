"""Practice for the learned retrieval while the decoder that it reads learns something else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.data.scenes.mixture import EpochDataset
from common.geometry.overlap import view_overlap
from common.views import Views
from slam3r.models import ImageToPoints
from slam3r.training.losses import overlap_loss


@dataclass
class RetrievalPractice:
    """Near, far and foreign views together: scores are to be the share of the surface that two views have in common.

    The windows of Image-to-Points show one place, and a decoder that meets nothing else forgets how views without
    anything in common look. Here the gradient reaches the decoder's layers below the score, not the head alone.
    """

    scenes: EpochDataset
    """Windows of posed RGB-D scenes, wide enough that some of their views have nothing in common, in random order."""
    windows: int = 2
    """Scenes that meet in one practice."""
    queries: int = 2
    """Views of every window that ask; the others are candidates, for the queries of all windows."""
    every: int = 3
    """Steps from one practice to the next."""
    weight: float = 3.0
    """Weight of the loss beside that of the pointmaps."""

    def due(self, step: int) -> bool:
        """Whether a step has practice."""
        return step % self.every == 0

    def loss(self, model: ImageToPoints, step: int) -> Tensor:
        """See `slam3r.training.losses.overlap_loss`. The scenes are a function of the step: a run can be resumed."""
        views = self._draw(step // self.every).to(next(model.parameters()).device)
        images, count = views.images, self.queries
        tokens, grid = model.encode(images)
        logits = model.correlation_logits(tokens[:, :count].flatten(0, 1), tokens[:, count:].flatten(0, 1), grid)
        return overlap_loss(logits, self._overlap(views))

    def _draw(self, number: int) -> Views:
        windows = []
        for position in range(number * self.windows, (number + 1) * self.windows):
            epoch, index = divmod(position, len(self.scenes))
            self.scenes.set_epoch(epoch)
            windows.append(self.scenes[index])
        return Views.stack(windows)

    def _overlap(self, views: Views) -> Tensor:
        """(Q, C) for the queries and candidates of all windows; views of different windows have nothing in common."""
        blocks = []
        for window in range(len(views.images)):
            overlap = view_overlap(views[window])
            blocks.append(torch.minimum(overlap, overlap.T)[: self.queries, self.queries :])
        return torch.block_diag(*blocks).to(views.images.device)
