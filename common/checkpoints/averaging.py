"""Average of two sets of weights of one network.

Weights from before and after a further training lie in one valley: their mean keeps what either knows and is often
better than both on data that neither was trained on (WiSE-FT, Wortsman et al., CVPR 2022).
"""

from __future__ import annotations

from typing import TypeVar

import torch

from common.checkpoints.hub import PretrainedModel
from common.errors import CheckpointError

Network = TypeVar("Network", bound=PretrainedModel)


@torch.no_grad()
def averaged(before: Network, after: Network, share: float = 0.5) -> Network:
    """Move a network towards another one, in place.

    Args:
        before: is changed and returned.
        after: a network of the same sizes.
        share: of ``after``, 0 to 1.

    Raises:
        CheckpointError: the networks have parameters of other names or shapes.
    """
    ours, theirs = before.state_dict(), after.state_dict()
    other = [name for name in {**ours, **theirs} if name not in ours or name not in theirs]
    other += [name for name in ours if name in theirs and ours[name].shape != theirs[name].shape]
    if other:
        raise CheckpointError(f"only weights of one network can be averaged; {other[0]} differs")
    for name, value in ours.items():
        value.copy_(torch.lerp(value.float(), theirs[name].float(), share))
    return before
