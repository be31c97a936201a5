"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.configuration import GivenText
from common.ranges import Seed, Threads


@dataclass(frozen=True)
class TrainSettings:
    """The scalars of ``configs/train.yaml``, which explains them."""

    output: GivenText
    """Folder for checkpoints, logs, learning curve and weights."""
    seed: Seed = 0
    """Seed of initialization and sampling."""
    threads: Threads | None = None
    """Processor threads; null leaves torch's choice."""
    attention_backend: Literal["math", "flash_attention", "efficient_attention", "cudnn_attention"] | None = None
    """Attention kernel; null leaves torch's choice. On processors ``math`` is faster for windows of
    49 tokens (112 x 112)."""
    matmul_precision: Literal["highest", "high", "medium"] = "high"
    """float32 products on GPUs: high is TF32 (published), highest is full float32."""
    resume: str | None = None
    """auto: the newest whole checkpoint of this output, which must be of this run (same seed, model, data and
    objective); or a file; null starts anew."""
    overwrite: bool = False
    """Start anew although the output holds checkpoints; they are moved to ``checkpoints/earlier``."""
    recompute_activations: bool = False
    """Keep only the inputs of each block: about a tenth of the memory, a third more time."""
    compile: bool = False
    """Compile each block with torch.compile; the first steps take minutes."""
    ema_decay: float | None = None
    """Decay of a moving average of the weights, such as 0.9999, that is validated and exported; null: none."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1 or null, got {self.threads}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be from 0 to 2**32 - 1, got {self.seed}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie between 0 and 1, not {self.ema_decay}")
