"""Lightning data module of training windows, which can resume in the middle of an epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from common.data.scenes.mixture import EpochDataset
from common.data.scenes.order import BatchSizes, EpochIndexed, RunningSampler, world
from common.data.scenes.scene_folder import UNLABELLED
from common.errors import ConfigurationError
from common.views import Views

__all__ = ["EpochDataset", "EpochIndexed", "RunningSampler", "WindowData", "collate"]

logger = logging.getLogger(__name__)


class WindowData(LightningDataModule):
    """Training and validation loaders over windows.

    The order of windows depends on the seed and the global batch size alone, not on workers or ranks. Checkpoints store
    the position in it: after a restart, even in the middle of an epoch, training continues with the first window that
    the optimizer has not seen, whatever the loader had prefetched. The trainer must not add a sampler of its own
    (``use_distributed_sampler: false``).
    """

    def __init__(
        self,
        train: EpochDataset,
        validation: EpochDataset | Mapping[str, EpochDataset],
        batch_size: int = 4,
        epoch_windows: int | None = 8000,
        validation_windows: int = 200,
        num_workers: int = 1,
        seed: int = 0,
        resolutions: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """
        Args:
            train: source of training windows, a data set or a `Mixture`.
            validation: source of validation windows, or several by name; the first ones of epoch 0 are used, always
                the same.
            batch_size: windows per step and device.
            epoch_windows: windows per epoch (between validations), over all devices; None for the length of `train`.
            validation_windows: windows per validation and data set.
            num_workers: loader processes; 0 loads in the training process.
            seed: seed of the order of windows.
            resolutions: (height, width) of which each batch draws one; None leaves sizes to the data.
        """
        super().__init__()
        # Set before the loader processes are forked: after a fork, OpenCV would wait for threads of its pool that do
        # not exist in the child.
        cv2.setNumThreads(1)
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("validation_windows", validation_windows, 1),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        named = validation if isinstance(validation, Mapping) else {"validation": validation}
        self.train = train
        self.validation = {str(name): dataset for name, dataset in named.items()}
        self.batch_size, self.validation_windows, self.num_workers = batch_size, validation_windows, num_workers
        self.resolutions = resolutions
        if resolutions is not None and not hasattr(train, "set_size"):
            raise ValueError(f"{type(train).__name__} cannot change its image size: leave out resolutions")
        self.sampler = RunningSampler(train, len(train) if epoch_windows is None else epoch_windows, seed, batch_size)
        self.check_ranks(1)
        self._taken = self._consumed = 0
        self._steps: int | None = None

    @property
    def validation_names(self) -> list[str]:
        """Names of the validation sets, in the order of their loaders."""
        return list(self.validation)

    def describe(self, sample: int, validation: str | None = None) -> str:
        """Data set, scene and frames of a training or validation window, by its number (`Views.sample`)."""
        return EpochIndexed(self.train if validation is None else self.validation[validation]).describe(int(sample))

    def check_ranks(self, ranks: int) -> None:
        """Check that an epoch holds a batch for every rank, without which it ends before the first step.

        Raises:
            ConfigurationError: it does not.
        """
        windows, together = self.sampler.num_samples, self.batch_size * ranks
        if windows < together:
            shared = f" on each of {ranks} devices" if ranks > 1 else ""
            raise ConfigurationError(
                f"data.epoch_windows: an epoch of {windows} windows is less than a batch of {self.batch_size}{shared}: "
                f"nothing would be learnt; give at least {together}"
            )

    def train_dataloader(self) -> DataLoader:
        """Loader of stacked windows, starting at the current position."""
        sizes = BatchSizes(self.resolutions, self.sampler.order, self.sampler.group) if self.resolutions else None
        data = EpochIndexed(self.train, sizes)
        return _CountedLoader(self, data, sampler=self.sampler, drop_last=True, **self._options(keep_workers=True))

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """One loader, or one per validation set, over the same windows in every epoch, divided among the ranks.

        Every rank reads the same number: if they do not divide evenly, some windows are read twice (and recognised by
        their numbers).
        """
        loaders = [
            DataLoader(EpochIndexed(data), sampler=self._share(len(data)), **self._options(keep_workers=False))
            for data in self.validation.values()
        ]
        return loaders[0] if len(loaders) == 1 else loaders

    def state_dict(self) -> dict[str, Any]:
        """Number of windows that the optimizer has seen over all ranks, and what their order depends on."""
        self._settle()
        order = self.sampler.order
        return {"position": self._consumed, "windows": order.size, "seed": order.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a checkpoint's position in the next pass of the training loader."""
        order = self.sampler.order
        for key, value in (("windows", order.size), ("seed", order.seed)):
            if state[key] != value:
                logger.warning("data: %s was %s and is now %s: the order of windows changes", key, state[key], value)
        self._taken = self._consumed = int(state["position"])

    def begin_pass(self) -> None:
        """Start a pass of the training loader at the first window that no earlier pass has returned."""
        self.sampler.position = self._taken
        self._taken = self.sampler.start()

    def take(self) -> None:
        """Record that a training batch was returned, here and on every other rank."""
        self._settle()
        self._taken += self.sampler.group

    def _settle(self) -> None:
        """Count batches as seen once the optimizer has stepped since they were returned.

        With accumulated gradients these are several at once; without a trainer, all.
        """
        steps = self.trainer.global_step if self.trainer is not None else None
        if steps is None or steps != self._steps:
            self._consumed, self._steps = self._taken, steps

    def _share(self, size: int) -> list[int]:
        """This rank's items of a validation set."""
        rank, ranks = world()
        count = min(self.validation_windows, size)
        return [item % count for item in range(rank, -(-count // ranks) * ranks, ranks)]

    def _options(self, keep_workers: bool) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "collate_fn": collate,
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": keep_workers and self.num_workers > 0,
        }


class _CountedLoader(DataLoader):
    """Reports returned batches to `WindowData`. The two state hooks tell Lightning that the loader can be resumed."""

    def __init__(self, owner: WindowData, data: Dataset[Views], **options: Any) -> None:
        super().__init__(data, **options)
        self.owner = owner

    def __iter__(self) -> Iterator[Views]:  # type: ignore[override]
        self.owner.begin_pass()
        for batch in super().__iter__():
            self.owner.take()
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the position is in the state of `WindowData`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""


def collate(windows: Sequence[Views]) -> Views:
    """Stack windows of one shape. Where only some have labels, the others count as unlabelled.

    Raises:
        ConfigurationError: the windows differ in shape.
    """
    shapes = {tuple(window.images.shape) for window in windows}
    if len(shapes) > 1:
        shown = ", ".join(str(list(shape)) for shape in sorted(shapes))
        raise ConfigurationError(f"windows of different shapes in one batch ({shown}): they need data.batch_size=1")
    if any(window.labels is not None for window in windows):
        for window in windows:
            if window.labels is None:
                assert window.depth is not None
                window.labels = torch.full_like(window.depth, UNLABELLED, dtype=torch.int64)
    return Views.stack(windows)
