"""Lightning's progress bar for runs that are limited by steps."""

from __future__ import annotations

from lightning.pytorch.callbacks import RichProgressBar


class StepBar(RichProgressBar):
    """Lightning's bar, which counts the epochs of a run without a number of epochs as ``Epoch 0/-2``, without that."""

    def _get_train_description(self, current_epoch: int) -> str:
        limit = self.trainer.max_epochs
        counted = f"Epoch {current_epoch}/{limit - 1}" if limit is not None and limit > 0 else f"Epoch {current_epoch}"
        return f"{counted:{len(self.validation_description)}}"  # of one length with validation, against flickering
