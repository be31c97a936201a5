"""Freezing, parameter groups, AdamW, and the learning-rate schedule of the published recipes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class ParameterRule:
    """Learning rate and weight decay of some parameters. The first rule that matches a parameter applies."""

    pattern: str
    """Regular expression, matched from the start of the parameter's name in the model (as for freezing)."""
    rate: float = 1.0
    """Factor on the learning rate, warm-up and cosine included."""
    weight_decay: float | None = None
    """Overrides the optimizer's; None keeps it. Biases, norms and other one-axis tensors never decay."""
    layer_decay: float = 1.0
    """Further factor for every layer below the last one that the pattern finds; the pattern's group called ``layer``
    gives the number: ``encoder\\.blocks\\.(?P<layer>\\d+)\\.`` (layer-wise decay, Clark et al. 2020)."""

    def __post_init__(self) -> None:
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is not a regular expression: {error}") from None
        if self.layer_decay != 1.0 and "layer" not in groups:
            raise ValueError(f"layer_decay needs a group (?P<layer>\\d+) in the pattern {self.pattern!r}")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up from 0 and half a cosine, per step, as in all published recipes."""

    learning_rate: float = 5e-5
    """Peak, reached after the warm-up."""
    min_learning_rate: float = 5e-7
    """Value after the last step."""
    warmup_steps: int = 1000
    warmup_share: float | None = None
    """Warm-up as a share of the run, in place of ``warmup_steps``; all published recipes warm up for a tenth."""
    weight_decay: float = 0.05
    """Applied to parameters with at least two axes that are not biases."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float | None = None
    """Largest norm of the gradient; None does not clip (published)."""
    rules: Sequence[ParameterRule] = ()
    """Parameters with another learning rate or weight decay."""

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and 0 <= self.min_learning_rate <= self.learning_rate):
            raise ValueError(
                f"need 0 <= min_learning_rate <= learning_rate and learning_rate > 0, got {self.min_learning_rate} and "
                f"{self.learning_rate}"
            )
        if self.warmup_steps < 0 or not (self.warmup_share is None or 0 <= self.warmup_share <= 1):
            raise ValueError(f"warm-up must be steps or a share, got {self.warmup_steps} and {self.warmup_share}")
        if not self.weight_decay >= 0 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"need weight_decay >= 0 and betas in [0, 1), got {self.weight_decay} and {self.betas}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be positive or null, got {self.clip_norm}")

    def warmup(self, total_steps: int) -> int:
        """Warm-up steps of a run."""
        return self.warmup_steps if self.warmup_share is None else round(self.warmup_share * total_steps)


def freeze(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Stop the gradients of every parameter whose name matches one of the regular expressions from its start.

    Returns:
        The frozen names.

    Raises:
        ValueError: a pattern matches nothing, which is a mistake in the config.
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


def parameter_groups(
    model: nn.Module, weight_decay: float, rules: Sequence[ParameterRule] = ()
) -> list[dict[str, Any]]:
    """Group trainable parameters by weight decay and learning-rate factor.

    Without rules there are two groups: with decay (two axes and more, no bias) and without.

    Args:
        model: a network, or a Lightning module that holds it as ``model``: the rules see the network's own names.
        weight_decay: default where no rule sets another.
        rules: see `ParameterRule`.

    Returns:
        Groups with ``params``, ``weight_decay`` and ``rate``, the factor.

    Raises:
        ValueError: for a rule that matches no trainable parameter.
    """
    trainable = [(name.removeprefix("model."), p) for name, p in model.named_parameters() if p.requires_grad]
    deepest = dict(_deepest_layers(rules, [name for name, _ in trainable]))
    groups: dict[tuple[float, float], list[Parameter]] = {(weight_decay, 1.0): [], (0.0, 1.0): []}
    for name, parameter in trainable:
        decay, rate = weight_decay, 1.0
        for rule in rules:
            if match := re.match(rule.pattern, name):
                decay = decay if rule.weight_decay is None else rule.weight_decay
                depth = deepest[rule.pattern] - int(match["layer"]) if "layer" in match.groupdict() else 0
                rate = rule.rate * rule.layer_decay**depth
                break
        decays = parameter.ndim >= 2 and not name.endswith(".bias")
        groups.setdefault((decay if decays else 0.0, rate), []).append(parameter)
    filled = {key: params for key, params in groups.items() if params or key[1] == 1.0}
    return [{"params": params, "weight_decay": decay, "rate": rate} for (decay, rate), params in filled.items()]


def build_optimizer(model: nn.Module, config: OptimizerConfig, total_steps: int) -> tuple[AdamW, LambdaLR]:
    """The optimizer and its schedule, which is advanced once per step.

    Args:
        model: parameters without gradient are left out.
        config: hyper-parameters.
        total_steps: optimizer steps of the whole run.
    """
    groups = parameter_groups(model, config.weight_decay, config.rules)
    for group in groups:
        group["lr"] = config.learning_rate * group["rate"]
    optimizer = AdamW(groups, lr=config.learning_rate, betas=(config.betas[0], config.betas[1]), fused=True)
    floor = config.min_learning_rate / config.learning_rate
    warmup = config.warmup(total_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        progress = (step - warmup) / max(1, total_steps - warmup)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return optimizer, LambdaLR(optimizer, factor)


def _deepest_layers(rules: Sequence[ParameterRule], names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """(pattern, largest layer number found) of every rule; 0 if the pattern has no layer group."""
    for rule in rules:
        matches = [match for name in names if (match := re.match(rule.pattern, name))]
        if not matches:
            raise ValueError(f"the optimizer rule {rule.pattern!r} matches no parameter that learns")
        yield rule.pattern, max(int(match.groupdict().get("layer") or 0) for match in matches)
