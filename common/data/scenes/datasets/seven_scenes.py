"""7-Scenes (Shotton et al., CVPR 2013): Kinect sequences of seven rooms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.data.scenes.dataset import WindowDataset, of_split
from common.data.scenes.windows import ConsecutiveWindows, WindowRule


class SevenScenes(WindowDataset):
    """Consecutive windows of the sequences of a split."""

    name = "seven_scenes"

    def __init__(
        self,
        root: Path | str,
        num_views: int = 11,
        split: str | None = "train",
        stride: int = 5,
        windows: WindowRule | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            root: the output of `data_process.seven_scenes`.
            num_views: V, views of a window.
            split: "train", "test" (the official split files), or None for all sequences.
            stride: frames from one view to the next, at 30 frames per second.
            windows: another rule instead; `num_views` and `stride` then have no part.
            **options: of `WindowDataset`.
        """
        super().__init__(
            root,
            windows or ConsecutiveWindows(num_views, stride),
            choose=of_split(split),
            **options,
        )
