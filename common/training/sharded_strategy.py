"""FSDP2 over all ranks, as a Lightning strategy."""

from __future__ import annotations

from lightning.pytorch.strategies import ModelParallelStrategy


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy for `torch.distributed.fsdp.fully_shard`, with all ranks in one data-parallel group.

    `common.training.module.Objective.configure_model` does the sharding. Checkpoints are single files, as with DDP.
    """

    def __init__(self) -> None:
        super().__init__(data_parallel_size=1, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Set the size of the data-parallel group, which is known only now."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()
