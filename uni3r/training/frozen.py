"""Holder of auxiliary networks, such as teachers, that keeps them out of the trained and saved module."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Frozen:
    """Network that is not trained, saved, moved or put into training mode with its owner."""

    def __init__(self, network: Any) -> None:
        self._network = network
        if isinstance(network, nn.Module):
            network.eval().requires_grad_(False)

    def on(self, device: torch.device) -> Any:
        """Return the network, moved to the device."""
        if isinstance(self._network, nn.Module):
            self._network.to(device)
        return self._network
