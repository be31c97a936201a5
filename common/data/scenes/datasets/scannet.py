"""ScanNet (Dai et al., CVPR 2017): 1,513 scans of rooms with depth and semantic labels, every 10th frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from common.data.scenes.dataset import WindowDataset
from common.data.scenes.scene_folder import Choice, RgbdScene
from common.data.scenes.windows import ConsecutiveWindows, WindowRule


class ScanNet(WindowDataset):
    """Windows of ScanNet, split by the order of names as Uni3R splits it: the last scenes validate."""

    name = "scannet"

    def __init__(
        self,
        root: Path | str,
        num_views: int = 11,
        split: Literal["train", "val"] | None = "train",
        stride: int = 1,
        windows: WindowRule | None = None,
        validation_scenes: int = 150,
        **options: Any,
    ) -> None:
        """
        Args:
            root: the output of `data_process.scannet`, or of `data_process.lsm_scannet_test` with `split` None.
            num_views: V, views of a window.
            split: "train", "val", or None for all scenes.
            stride: stored frames from one view to the next.
            windows: another rule instead; `num_views` and `stride` then have no part.
            validation_scenes: how many of the last scenes are not for training.
            **options: of `WindowDataset`.
        """
        if split not in ("train", "val", None):
            raise ValueError(f"split must be train, val or null, not {split!r}")
        super().__init__(
            root, windows or ConsecutiveWindows(num_views, stride), choose=_split(split, validation_scenes), **options
        )


def _split(split: str | None, validation_scenes: int) -> Choice:
    def choose(scenes: list[RgbdScene]) -> list[RgbdScene]:
        border = max(0, len(scenes) - validation_scenes)
        return {"train": scenes[:border], "val": scenes[border:], None: scenes}[split]

    return choose
