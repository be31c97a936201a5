"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainSettings:
    """The scalars of ``configs/train.yaml``; what they mean is written there."""

    output: str
    seed: int = 0
    threads: int | None = None
    attention_backend: Literal["math", "flash_attention", "efficient_attention", "cudnn_attention"] | None = None
    matmul_precision: Literal["highest", "high", "medium"] = "high"
    resume: str | None = None
    recompute_activations: bool = False
    compile: bool = False
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie between 0 and 1, not {self.ema_decay}")
