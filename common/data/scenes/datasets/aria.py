"""Aria Synthetic Environments (Avetisyan et al., SceneScript, ECCV 2024): walks through made-up flats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.data.scenes.dataset import WindowDataset, of_split
from common.data.scenes.windows import ConsecutiveWindows, WindowRule


class Aria(WindowDataset):
    """Consecutive windows of the first 500 scenes; nine in ten are for training, by number."""

    name = "aria"

    def __init__(
        self,
        root: Path | str,
        num_views: int = 11,
        split: str | None = "train",
        stride: int = 2,
        windows: WindowRule | None = None,
        zoom_range: int = 128,
        **options: Any,
    ) -> None:
        """
        Args:
            root: the output of `data_process.aria`.
            num_views: V, views of a window.
            split: "train", "val", or None for all scenes.
            stride: frames from one view to the next: published 2 in training, 1 in validation.
            windows: another rule instead; `num_views` and `stride` then have no part.
            zoom_range: random zoom of each view, published 128 in training; give 0 for validation.
            **options: of `WindowDataset`.
        """
        super().__init__(
            root,
            windows or ConsecutiveWindows(num_views, stride),
            choose=of_split(split),
            zoom_range=zoom_range,
            **options,
        )
