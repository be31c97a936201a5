"""Windows of procedural rooms, rendered on the fly. Nothing to download."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from common.rooms import Degradation, room_seed, room_sequence
from common.views import Views


class RoomsDataset(Dataset[Views]):
    """Item `index` is a short walk through room `index`: the same views on any machine and in any worker.

    Args:
        length: number of rooms.
        num_views: V, views of a window.
        size: (height, width), or one number for a square.
        stride: path frames from one view to the next, a number or a range [min, max] from which each window draws.
        split: "train" or "held_out"; their rooms never coincide.
        seed: seed of the whole data set.
        step, turn, fov: ranges of the motion between path frames and of the field of view; see `room_sequence`.
        degradation: strengths of the simulated camera degradations.
        device: where to render.

    An item is a `Views` without a batch axis, on the device.
    """

    def __init__(
        self,
        length: int = 1000,
        num_views: int = 5,
        size: tuple[int, int] | int = 224,
        stride: int | tuple[int, int] = (1, 3),
        split: str = "train",
        seed: int = 0,
        step: tuple[float, float] = (0.05, 0.15),
        turn: tuple[float, float] = (3.0, 7.0),
        fov: tuple[float, float] = (50.0, 80.0),
        degradation: Degradation | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        room_seed(split, seed, 0)  # raises for an unknown split here rather than in a worker
        self.length, self.num_views, self.split, self.seed = length, num_views, split, seed
        self.size = size if isinstance(size, int) else (size[0], size[1])
        self.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)
        self.step, self.turn, self.fov = step, turn, fov
        self.degradation, self.device = degradation, device

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: a room is the same in every epoch."""

    def set_size(self, size: tuple[int, int]) -> None:
        """Set the (height, width) of the views. Affects this process only."""
        self.size = size

    def describe(self, index: int) -> str:
        """Name of the room that an item shows."""
        return f"rooms/{self.split} {index} (room seed {room_seed(self.split, self.seed, index)})"

    def __getitem__(self, index: int) -> Views:
        if not 0 <= index < self.length:
            raise IndexError(f"room {index} of {self.length}")
        seed = room_seed(self.split, self.seed, index)
        stride = int(np.random.default_rng([19, seed]).integers(self.stride[0], self.stride[1] + 1))
        return room_sequence(
            seed,
            self.num_views,
            self.size,
            stride=stride,
            step=self.step,
            turn=self.turn,
            fov=self.fov,
            degradation=self.degradation,
            device=self.device,
        )
