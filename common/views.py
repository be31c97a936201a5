"""Dataclasses shared by all packages: views, pointmaps and cameras.

Shape legend: ``B`` any number of leading batch axes (also none), ``V`` views of a window, ``H``, ``W`` pixels.
Conventions (axes, units, pixel centres) are on one page: ``common/conventions.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor

_T = TypeVar("_T", bound="TensorFields")


@dataclass
class TensorFields:
    """Base of dataclasses whose fields are tensors (or None): moves, indexes and stacks all of them together."""

    def _map(self: _T, function) -> _T:
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(None if value is None else function(value) for value in values))

    def to(self: _T, *args, **kwargs) -> _T:
        """`Tensor.to` on every field. Give a device only: a dtype would also convert integer labels."""
        return self._map(lambda tensor: tensor.to(*args, **kwargs))

    def __getitem__(self: _T, index) -> _T:
        """Index the leading axes of every field."""
        return self._map(lambda tensor: tensor[index])

    def pin_memory(self: _T) -> _T:
        """Page-locked copies of all fields, for fast transfer to a GPU."""
        return self._map(lambda tensor: tensor.pin_memory())

    @classmethod
    def stack(cls: type[_T], items: Sequence[_T]) -> _T:
        """A new leading batch axis over items of equal shapes. A field is None in all items or in none."""
        columns = ([getattr(item, field.name) for item in items] for field in fields(cls))
        return cls(*(None if column[0] is None else torch.stack(column) for column in columns))


@dataclass
class Views(TensorFields):
    """Images of a window with their optional ground truth. Used for network input and for training."""

    images: Tensor
    """(B, V, 3, H, W) float32 RGB in [-1, 1]."""
    depth: Tensor | None = None
    """(B, V, H, W) float32, metres along the optical axis (z, not ray length); 0 where invalid."""
    camera_to_world: Tensor | None = None
    """(B, V, 4, 4) float32, OpenCV camera axes, metres."""
    intrinsics: Tensor | None = None
    """(B, V, 3, 3) float32, pixels; the centre of the top left pixel is (0, 0)."""
    labels: Tensor | None = None
    """(B, V, H, W) int64 semantic class; 255 where unlabelled."""
    sample: Tensor | None = None
    """(B, V) int64 number of the window in the order of training, to identify bad ones; None elsewhere."""


@dataclass
class Pointmaps(TensorFields):
    """A 3-D point and a confidence for every pixel."""

    points: Tensor
    """(B, V, H, W, 3) float32, in the frame that the producer names; unitless (up to scale) from a network."""
    confidence: Tensor
    """(B, V, H, W) float32, above 1 where the network uses the ``exp`` activation."""


@dataclass
class Cameras(TensorFields):
    """Pinhole cameras."""

    camera_to_world: Tensor
    """(B, 4, 4) float32, OpenCV axes."""
    intrinsics: Tensor
    """(B, 3, 3) float32, pixels."""
