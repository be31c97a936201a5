"""The reconstructor's memory of frames, and how long it lasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from common.backbone import PatchGrid, ViewStart
from slam3r.reconstruction.frames import FrameInput, LocalPointmap, WorldPointmap
from slam3r.reconstruction.memory.view_starts import ViewStarts
from slam3r.reconstruction.networks import Networks


class FrameStore:
    """Tokens, local and world pointmaps by frame index."""

    def __init__(self) -> None:
        self.inputs: dict[int, FrameInput] = {}
        self.local: dict[int, LocalPointmap] = {}
        self.world: dict[int, WorldPointmap] = {}
        self._sources = ViewStarts()
        self._references = ViewStarts()

    def tokens(self, frames: Iterable[int]) -> Tensor:
        """(F, N, E)."""
        return torch.stack([self.inputs[frame].tokens for frame in frames])

    def sources(self, frames: Iterable[int], networks: Networks, grid: PatchGrid) -> ViewStart:
        """Frames as sources of I2P, in one item; what depends on a frame alone is computed once."""
        return self._sources.join(frames, lambda new: networks.start_sources(self.tokens(new), grid))

    def references(self, frames: Iterable[int], networks: Networks, grid: PatchGrid) -> ViewStart:
        """Registered frames as references of L2W, in one item; what depends on a frame alone is computed once."""

        def start(new: Sequence[int]) -> ViewStart:
            points = torch.stack([self.world[frame].points for frame in new])
            return networks.start_references(self.tokens(new), points, grid)

        return self._references.join(frames, start)

    def registered_near(self, frame: int, reach: int, confidence: float) -> list[int]:
        """Other registered frames whose tokens are held, in the order of their registration.

        Args:
            frame: frame whose neighbours to find; may be registered itself.
            reach: largest distance in frames, before or after.
            confidence: smallest mean registered confidence.
        """
        return [
            index
            for index, world in self.world.items()
            if index in self.inputs and 0 < abs(index - frame) <= reach and world.mean_confidence >= confidence
        ]

    def forget(self, inputs_before: int, pointmaps_before: int, keep: Iterable[int]) -> None:
        """Drop data that no later step reads.

        Args:
            inputs_before: first frame whose tokens a coming window, query or registration may need.
            pointmaps_before: first frame whose pointmaps may still be offered to the buffering set.
            keep: the buffering set, kept whole.
        """
        kept = set(keep)
        limits = ((self.inputs, inputs_before), (self.local, pointmaps_before), (self.world, pointmaps_before))
        for table, limit in limits:
            for frame in [frame for frame in table if frame < limit and frame not in kept]:
                del table[frame]
        self._sources.forget_all_but(self.inputs)
        self._references.forget_all_but(kept)

    def state_dict(self) -> dict[str, Any]:
        """All tables as tensors (not copied) and plain values, by the frames' indices as strings; not the starts,
        which follow from them."""
        tables: dict[str, Mapping[int, Any]] = {"inputs": self.inputs, "local": self.local, "world": self.world}
        return {
            name: {
                str(index): {field.name: getattr(item, field.name) for field in fields(item)}
                for index, item in table.items()
            }
            for name, table in tables.items()
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take over the frames of `state_dict`. Every tensor gets memory of its own, so that forgetting a frame frees
        it; all but the images go to the device."""
        for index, values in state["inputs"].items():
            image = values["image"].clone()
            self.inputs[int(index)] = FrameInput(**{**_to(device, values), "image": image})
        for index, values in state["local"].items():
            self.local[int(index)] = LocalPointmap(**_to(device, values))
        for index, values in state["world"].items():
            self.world[int(index)] = WorldPointmap(**_to(device, values))


def _to(device: torch.device, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.to(device, copy=True) if isinstance(value, Tensor) else value for name, value in values.items()}
