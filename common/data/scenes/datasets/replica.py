"""Replica (Straub et al., 2019) as rendered for iMAP and NICE-SLAM: eight rooms of 2,000 frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.data.scenes.dataset import WindowDataset
from common.data.scenes.windows import ConsecutiveWindows, WindowRule


class Replica(WindowDataset):
    """Consecutive windows of all scenes."""

    name = "replica"

    def __init__(
        self,
        root: Path | str,
        num_views: int = 11,
        stride: int = 10,
        windows: WindowRule | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            root: the output of `data_process.replica`.
            num_views: V, views of a window.
            stride: frames from one view to the next.
            windows: another rule instead; `num_views` and `stride` then have no part.
            **options: of `WindowDataset`.
        """
        super().__init__(
            root,
            windows or ConsecutiveWindows(num_views, stride),
            **options,
        )
