"""Random windows of any RGB-D scenes on disk: procedural rooms or others, in the layout of `data_process`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.data.scenes.augment import ColorJitter
from common.data.scenes.dataset import Seeding, WindowDataset
from common.data.scenes.mixture import Mixture, Source
from common.data.scenes.windows import Order, RandomWindows

__all__ = ["ColorJitter", "RgbdFolderDataset", "mixed_folders"]


class RgbdFolderDataset(WindowDataset):
    """One random window per scene and draw. Item i comes from scene i modulo the number of scenes.

    Frames are cropped about their middle and scaled by area means, which costs little.
    """

    def __init__(
        self,
        root: Path | str,
        num_views: int = 5,
        stride: tuple[int, int] | int = (1, 2),
        size: tuple[int, int] | int | None = None,
        length: int | None = None,
        order: Order = "either",
        jitter: ColorJitter | None = None,
        seed: int = 0,
        labels: bool = True,
        seeding: Seeding = "epoch",
        name: str | None = None,
    ) -> None:
        """
        Args:
            root: folder with one folder per scene.
            num_views: V, views of a window.
            stride: range [min, max] of frames from one view to the next; the largest that fits where a scene is short.
            size: (height, width) or one number for a square; None keeps the size on disk.
            length: items per epoch; None for one per scene.
            order: "forward", "either" (half of the windows run backwards) or "shuffled".
            jitter: colour augmentation; None for none.
            seed: seed of all random draws.
            labels: read semantic labels where there are any; they are None where a scene has none.
            seeding: see `WindowDataset`.
            name: name of the data set in messages; None takes the name of the folder.
        """
        self.name = name or Path(root).name
        low, high = (stride, stride) if isinstance(stride, int) else (stride[0], stride[1])
        super().__init__(
            root,
            RandomWindows(num_views, (low, high), order),
            size=size,
            length=length,
            crop="middle",
            jitter=jitter,
            labels=labels,
            seed=seed,
            seeding=seeding,
        )

    def window_of(self, index: int) -> int:
        """Window number of an item; with fewer items than scenes, the first scenes are used in order."""
        return index % self.num_windows


def mixed_folders(root: Path | str, shares: Mapping[str, int], seed: int = 0, **options: Any) -> Mixture:
    """Several data sets side by side, all read alike.

    Args:
        root: folder that holds the data sets.
        shares: windows per epoch of each, by the name of its folder.
        seed: seed of all random draws.
        **options: arguments of `RgbdFolderDataset`.
    """
    return Mixture(
        {
            name: Source(RgbdFolderDataset(Path(root) / name, seed=seed, **options), share)
            for name, share in shares.items()
        },
        seed,
    )
