"""CO3Dv2 (Reizenstein et al., ICCV 2021): phone orbits around objects, with foreground masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.data.scenes.dataset import WindowDataset, of_split
from common.data.scenes.scene_folder import Choice, DataError, RgbdFrame, RgbdScene
from common.data.scenes.windows import OrbitWindows, WindowRule
from common.files import read_json

FARTHEST = 3  # medians of a frame's depth; beyond, depth is invalid (published)


class Co3d(WindowDataset):
    """Arcs of half an orbit. In half of the windows the background has no depth; images stay complete."""

    name = "co3d"

    def __init__(
        self,
        root: Path | str,
        num_views: int = 11,
        split: str | None = "train",
        windows: WindowRule | None = None,
        zoom_range: int = 16,
        mask_probability: float = 0.5,
        **options: Any,
    ) -> None:
        """
        Args:
            root: the output of `data_process.co3d`: of 41 training categories, in the published recipe.
            num_views: V, views of a window.
            split: "train" or "test": the frames that selected_seqs_<split>.json lists; None for all.
            windows: another rule instead of `OrbitWindows`; `num_views` then has no part.
            zoom_range: random zoom of each view, published 16 in training; give 0 for validation.
            mask_probability: share of windows in which the background's depth is removed.
            **options: of `WindowDataset`.
        """
        self.mask_probability = mask_probability
        choose = _selected(Path(root), split)
        super().__init__(root, windows or OrbitWindows(num_views), choose=choose, zoom_range=zoom_range, **options)

    @property
    def needs_masks(self) -> bool:
        return self.mask_probability > 0

    def valid_depth(self, depth: NDArray[np.uint16], scene: RgbdScene) -> NDArray[np.uint16]:
        valid = depth[depth > 0]
        if not valid.size:
            return depth
        return np.where(depth > FARTHEST * float(np.median(valid)), np.uint16(0), depth)

    def whole_window(self, frames: list[RgbdFrame], generator: np.random.Generator) -> None:
        if generator.random() < self.mask_probability:
            for frame in frames:
                if frame.mask is not None:
                    frame.depth = np.where(frame.mask > 127, frame.depth, np.uint16(0))


def _selected(root: Path, split: str | None) -> Choice:
    """Filter for the sequences of a split and the frames that it lists; both splits can share a sequence."""
    path = root / f"selected_seqs_{split}.json"

    def choose(scenes: list[RgbdScene]) -> list[RgbdScene]:
        chosen = of_split(split)(scenes)
        if split is None or not path.is_file():
            return chosen
        listed = read_json(path)
        try:
            frames = [listed[scene.attributes["category"]][scene.attributes["sequence"]] for scene in chosen]
        except (KeyError, TypeError) as error:
            raise DataError(f"{path} does not list every sequence of the split: {error} is missing") from None
        return [scene.restricted(numbers) for scene, numbers in zip(chosen, frames, strict=True)]

    return choose
