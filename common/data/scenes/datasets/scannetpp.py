"""ScanNet++ (Yeshwanth et al., ICCV 2023): iPhone and DSLR sequences of rooms, depth rendered from the scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from common.data.scenes.dataset import WindowDataset, of_split
from common.data.scenes.scene_folder import RgbdScene
from common.data.scenes.windows import ConsecutiveWindows, WindowRule


class ScanNetPlusPlus(WindowDataset):
    """Consecutive windows over iPhone and DSLR sequences, each sequence by itself (SLAM3R, section 4 of the paper)."""

    name = "scannetpp"

    def __init__(
        self,
        root: Path | str,
        num_views: int = 11,
        split: str | None = "train",
        stride: int = 3,
        windows: WindowRule | None = None,
        sensor: Literal["iphone", "dslr"] | None = None,
        zoom_range: int = 256,
        **options: Any,
    ) -> None:
        """
        Args:
            root: the output of `data_process.scannetpp`.
            num_views: V, views of a window.
            split: "train" (nvs_sem_train), "val" (nvs_sem_val), or None for all scenes.
            stride: frames from one view to the next: published 3; validation of I2P 1, of L2W 3.
            windows: another rule instead; `num_views` and `stride` then have no part.
            sensor: of the sequences; None for both.
            zoom_range: random zoom of each view, published 256 in training; give 0 for validation.
            **options: of `WindowDataset`.
        """
        in_split = of_split(split)

        def choose(scenes: list[RgbdScene]) -> list[RgbdScene]:
            return [scene for scene in in_split(scenes) if sensor in (None, scene.attributes.get("sensor"))]

        super().__init__(
            root,
            windows or ConsecutiveWindows(num_views, stride),
            choose=choose,
            zoom_range=zoom_range,
            **options,
        )
