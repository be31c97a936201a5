"""Order of the training windows over epochs and ranks, resumable at any position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from common.data.scenes.mixture import EpochDataset, describe
from common.views import Views


class WindowOrder:
    """Endless order of windows: a seeded permutation of the data for every epoch.

    A *position* counts windows in this order, over all ranks. A *running index* ``epoch * size + item`` identifies
    the window.
    """

    def __init__(self, size: int, seed: int) -> None:
        """
        Args:
            size: windows of the data.
            seed: seed of the permutations.
        """
        self.size, self.seed = size, seed
        self._epoch = -1
        self._order = self._places = np.empty(0, np.int64)

    def index(self, position: int) -> int:
        """Running index at a position."""
        epoch, place = divmod(position, self.size)
        self._draw(epoch)
        return epoch * self.size + int(self._order[place])

    def position(self, index: int) -> int:
        """Position of a running index."""
        epoch, item = divmod(index, self.size)
        self._draw(epoch)
        return epoch * self.size + int(self._places[item])

    def _draw(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        generator = torch.Generator().manual_seed(self.seed + epoch)
        self._order = torch.randperm(self.size, generator=generator).numpy()
        self._places = np.argsort(self._order)
        self._epoch = epoch


class BatchSizes:
    """Image size of every global batch, drawn from a list: many aspect ratios, one per batch."""

    def __init__(self, sizes: Sequence[Sequence[int]], order: WindowOrder, group: int) -> None:
        """
        Args:
            sizes: (height, width) to draw from.
            order: order of the windows; its seed also decides the sizes.
            group: windows per batch over all ranks.
        """
        self.sizes = [(int(height), int(width)) for height, width in sizes]
        self.order, self.group = order, group

    def __call__(self, index: int) -> tuple[int, int]:
        """(height, width) of the batch that holds a running index."""
        batch = self.order.position(index) // self.group
        return self.sizes[int(np.random.default_rng([self.order.seed, batch]).integers(len(self.sizes)))]


class EpochIndexed(Dataset[Views]):
    """Data set addressed by running index, so that workers need no notice when an epoch begins.

    The index goes into `Views.sample`.
    """

    def __init__(self, windows: EpochDataset, sizes: BatchSizes | None = None) -> None:
        """
        Args:
            windows: the data.
            sizes: image sizes that change from batch to batch; None leaves the size to the data.
        """
        self.windows = windows
        self.sizes = sizes

    def __getitem__(self, index: int) -> Views:
        epoch, item = divmod(index, len(self.windows))
        self.windows.set_epoch(epoch)
        if self.sizes is not None:
            self.windows.set_size(self.sizes(index))  # type: ignore[attr-defined]  # checked by `WindowData`
        views = self.windows[item]
        views.sample = torch.full(views.images.shape[:1], index, dtype=torch.int64)
        return views

    def describe(self, index: int) -> str:
        """Name of the window of a running index."""
        epoch, item = divmod(index, len(self.windows))
        self.windows.set_epoch(epoch)
        return describe(self.windows, item)


class RunningSampler(Sampler[int]):
    """Sampler of running indices in the order of training, resumable.

    With n ranks, each takes every n-th index of the same order. A pass of the loader covers `num_samples`
    positions of the order, however long the data is; a remainder that fills no batch is left out.
    """

    def __init__(self, data: Sized, num_samples: int, seed: int, batch_size: int = 1) -> None:
        """
        Args:
            data: only its length is read.
            num_samples: positions per pass of the loader.
            seed: seed of the order.
            batch_size: indices per batch on a rank. Every rank gets the same number of batches; otherwise the rank with
                one more would wait forever.
        """
        self.order = WindowOrder(len(data), seed)
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.position = 0
        """Position at which the next pass begins. In the middle of a pass, only its remainder follows."""

    @property
    def group(self) -> int:
        """Positions of a batch over all ranks."""
        return self.batch_size * world()[1]

    def __len__(self) -> int:
        return self.num_samples // self.group * self.batch_size

    def __iter__(self) -> Iterator[int]:
        rank, ranks = world()
        start = self.start()
        end = (start // self.num_samples + 1) * self.num_samples
        for position in range(start + rank, start + (end - start) // self.group * self.group, ranks):
            yield self.order.index(position)
        self.position = end

    def start(self) -> int:
        """Start of a pass that begins now: the position, or the next pass if only a remainder is left."""
        left = self.num_samples - self.position % self.num_samples
        return self.position if left >= self.group else self.position + left


def world() -> tuple[int, int]:
    """This process's rank and the number of ranks."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
