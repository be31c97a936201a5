"""The part of the multi-view decoder's work that depends on one view alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from common.backbone.attention import Memory

Role = Literal["reference", "source"]


@dataclass(frozen=True)
class ViewStart:
    """Views as they are when the decoder's first cross attention begins: this depends on each view and its role alone.

    A view that many windows share starts once (`MultiviewDecoder.start`) and is joined with the others of a window.
    """

    tokens: Tensor
    """(B, V, N, E) encoder tokens, not normalized."""
    attended: Tensor
    """(B, V, N, C) streams after the self attention of the first layer."""
    memory: Memory
    """Keys and values that views of the other role read in the first layer."""
    embedding: Tensor | None = None
    """(B, V, N, C) what is added to the streams at every layer, if anything."""

    @staticmethod
    def join(views: Sequence[ViewStart]) -> ViewStart:
        """Views one after another in one item."""
        return _apply(lambda *parts: torch.cat(parts, dim=1), *views)

    def split(self) -> list[ViewStart]:
        """The views of a single item, each in memory of its own: a slice would keep all of them alive."""

        def view(at: int) -> ViewStart:
            return _apply(lambda x: x[:, at : at + 1].clone(), self)

        return [view(at) for at in range(self.tokens.shape[1])]

    def items(self, count: int) -> ViewStart:
        """The views of a single item as ``count`` items of equally many consecutive ones."""
        return _apply(lambda x: x[0].unflatten(0, (count, -1)), self)


def _apply(function: Callable[..., Tensor], *starts: ViewStart) -> ViewStart:
    """Apply a function to corresponding tensors."""
    embeddings = [start.embedding for start in starts if start.embedding is not None]
    return ViewStart(
        function(*(start.tokens for start in starts)),
        function(*(start.attended for start in starts)),
        Memory(
            function(*(start.memory.keys for start in starts)), function(*(start.memory.values for start in starts))
        ),
        function(*embeddings) if embeddings else None,
    )
