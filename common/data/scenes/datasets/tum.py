"""TUM RGB-D (Sturm et al., IROS 2012): hand-held Kinect sequences with motion capture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.data.scenes.dataset import WindowDataset
from common.data.scenes.windows import ConsecutiveWindows, WindowRule


class TumRgbd(WindowDataset):
    """Consecutive windows of all sequences."""

    name = "tum"

    def __init__(
        self,
        root: Path | str,
        num_views: int = 11,
        stride: int = 5,
        windows: WindowRule | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            root: the output of `data_process.tum`.
            num_views: V, views of a window.
            stride: frames from one view to the next, at 30 frames per second.
            windows: another rule instead; `num_views` and `stride` then have no part.
            **options: of `WindowDataset`.
        """
        super().__init__(
            root,
            windows or ConsecutiveWindows(num_views, stride),
            **options,
        )
