"""Windows for training: one sampler, one collation, any data set."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Protocol

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from common.views import Views


class EpochDataset(Protocol):
    """A data set whose windows are drawn anew in every epoch."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Views: ...

    def set_epoch(self, epoch: int) -> None:
        """Fix the random draws of the epoch."""


class EpochIndexed(Dataset):
    """Reads epoch and item from one running index, so that workers need not be told when an epoch begins."""

    def __init__(self, windows: EpochDataset) -> None:
        self.windows = windows

    def __getitem__(self, index: int) -> Views:
        epoch, item = divmod(index, len(self.windows))
        self.windows.set_epoch(epoch)
        return self.windows[item]


class RunningSampler(Sampler[int]):
    """Running indices ``epoch * size + item``: every epoch a seeded permutation, continued from where it stands.

    With several ranks, each takes every so manieth index of the same order.
    """

    def __init__(self, data: Sized, num_samples: int, seed: int) -> None:
        """
        Args:
            data: only its length is read.
            num_samples: indices per pass of the loader, whatever the length of the data.
            seed: of the permutations.
        """
        self.size = len(data)
        self.num_samples = num_samples
        self.seed = seed
        self.position = 0

    def __len__(self) -> int:
        return self.num_samples // _world()[1]

    def __iter__(self) -> Iterator[int]:
        rank, world = _world()
        # Equal shares: a rank with one batch more than the others would wait for them for ever.
        end = self.position + len(self) * world
        while self.position < end:
            epoch, offset = divmod(self.position, self.size)
            generator = torch.Generator().manual_seed(self.seed + epoch)
            order = torch.randperm(self.size, generator=generator).tolist()
            for item in order[offset : offset + end - self.position]:
                self.position += 1
                if self.position % world == rank:
                    yield epoch * self.size + item


def _world() -> tuple[int, int]:
    """This process's rank and the number of ranks."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class WindowData(LightningDataModule):
    """Training and validation loaders over windows."""

    def __init__(
        self,
        train: EpochDataset,
        validation: EpochDataset,
        batch_size: int = 4,
        epoch_windows: int = 8000,
        validation_windows: int = 200,
        num_workers: int = 1,
        seed: int = 0,
    ) -> None:
        """
        Args:
            train: source of training windows.
            validation: source of validation windows; the first ones of its epoch 0 are used, always the same.
            batch_size: windows per step and device.
            epoch_windows: windows per epoch (between validations).
            validation_windows: windows per validation.
            num_workers: loader processes; 0 loads in the training process.
            seed: of the order of windows.
        """
        super().__init__()
        self.train, self.validation = train, validation
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.sampler = RunningSampler(train, epoch_windows, seed)
        self.validation_windows = min(validation_windows, len(validation))

    def train_dataloader(self) -> DataLoader:
        """Batches of stacked windows."""
        return self._loader(EpochIndexed(self.train), sampler=self.sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """The same windows in every epoch."""
        return self._loader(EpochIndexed(self.validation), sampler=range(self.validation_windows))

    def _loader(self, data: Dataset, **options) -> DataLoader:
        return DataLoader(
            data,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=Views.stack,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            **options,
        )
