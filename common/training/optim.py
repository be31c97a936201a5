"""Parameter groups, freezing, and the learning-rate schedule of the published recipes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and half a cosine, per step."""

    learning_rate: float = 5e-5
    """Peak, reached at the end of the warm-up."""
    min_learning_rate: float = 5e-7
    """Value at the last step."""
    warmup_steps: int = 1000
    weight_decay: float = 0.05
    """On parameters with at least two axes that are not biases."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float | None = None
    """Largest norm of the gradient; None does not clip (published)."""


def freeze(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Stop the gradients of every parameter whose name matches one of the regular expressions from its start.

    Returns:
        The frozen names.

    Raises:
        ValueError: for a pattern that matches nothing, which is a mistake in the config.
    """
    frozen = []
    for pattern in patterns:
        names = [name for name, _ in model.named_parameters() if re.match(pattern, name)]
        if not names:
            raise ValueError(f"freeze pattern {pattern!r} matches no parameter of {type(model).__name__}")
        frozen += names
    chosen = set(frozen)
    for name, parameter in model.named_parameters():
        if name in chosen:
            parameter.requires_grad_(False)
    return sorted(chosen)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Trainable parameters in two groups: with decay (two axes and more, no bias) and without."""
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trainable if p.ndim >= 2 and not name.endswith(".bias")]
    plain = [p for name, p in trainable if not (p.ndim >= 2 and not name.endswith(".bias"))]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def build_optimizer(model: nn.Module, config: OptimizerConfig, total_steps: int) -> tuple[AdamW, LambdaLR]:
    """The optimizer and its schedule, which is advanced once per step.

    Args:
        model: parameters without gradient are left out.
        config: hyper-parameters.
        total_steps: optimizer steps of the whole run.
    """
    groups = parameter_groups(model, config.weight_decay)
    optimizer = AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    floor = config.min_learning_rate / config.learning_rate

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return optimizer, LambdaLR(optimizer, factor)
