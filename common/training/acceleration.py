"""Cheaper steps for the same mathematics: recomputed activations, compiled blocks, sharded parameters.

All three work on the blocks of the shared transformer and leave parameter names as they are, so checkpoints fit with
and without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.utils.checkpoint import checkpoint

from common.backbone.blocks import Block


def recompute_activations(model: nn.Module) -> int:
    """Let every block with something to learn keep its inputs only, and compute the rest again in the backward pass.

    Activation memory falls to about a tenth, a step takes about a third longer (Chen et al. 2016).

    Returns:
        How many blocks do so.
    """
    count = 0
    for block in _blocks(model):
        if any(parameter.requires_grad for parameter in block.parameters()):
            # The bound method stands in for the module's: wrapping the module would change parameter names.
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
            count += 1
    return count


def compile_blocks(model: nn.Module) -> int:
    """Compile every block in place with torch.compile: one compilation serves all blocks of a kind.

    Returns:
        How many blocks were compiled.
    """
    blocks = list(_blocks(model))
    for block in blocks:
        block.compile()
    return len(blocks)


def shard(root: nn.Module, mesh, entry_points: tuple[str, ...]) -> None:
    """Spread parameters, gradients and optimizer state over the ranks (FSDP2, `torch.distributed.fsdp.fully_shard`).

    Args:
        root: everything that is run in a step; its blocks are gathered one at a time.
        mesh: one-axis device mesh of the ranks.
        entry_points: methods of the root by which steps enter it, other than ``forward``.
    """
    for block in _blocks(root):
        fully_shard(block, mesh=mesh)
    fully_shard(root, mesh=mesh)
    for name in entry_points:
        register_fsdp_forward_method(root, name)


def _blocks(model: nn.Module) -> Iterator[Block]:
    return (module for module in model.modules() if isinstance(module, Block))
