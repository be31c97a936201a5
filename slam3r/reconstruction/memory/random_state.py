"""The state of a NumPy random generator as tensors and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def random_state(random: np.random.RandomState) -> dict[str, Any]:
    """State of a generator; `load_random_state` takes it back."""
    state: Any = random.get_state(legacy=False)
    return {
        "key": torch.from_numpy(state["state"]["key"].astype(np.int64)),
        "position": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]),
    }


def load_random_state(random: np.random.RandomState, state: Mapping[str, Any]) -> None:
    """Restore a generator to a state from `random_state`."""
    key = state["key"].numpy().astype(np.uint32)
    random.set_state(("MT19937", key, state["position"], state["has_gauss"], state["gauss"]))
