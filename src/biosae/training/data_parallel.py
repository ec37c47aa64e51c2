"""Data-parallel training: a batch whose rows are spread over the processes of a group."""

from __future__ import annotations

import torch
from torch import Tensor

from biosae.distributed.largest import largest_of_group
from biosae.distributed.processes import ReplicaGroup
from biosae.saes.batch import WHOLE_BATCH, Batch


class ShardedBatch(Batch):
    """A batch of which each process has the rows of `ReplicaGroup.shard_rows`.

    Every process computes the losses of the whole batch. Their gradients reach its own rows alone, so that the
    gradients of all processes add up to that of the batch.
    """

    def __init__(self, group: ReplicaGroup):
        self._group = group

    def count(self, n: int) -> int:
        return self._group.count(n)

    def sum(self, partial: Tensor) -> Tensor:
        return self._group.all_reduce_sum(partial)

    def min(self, lowest: Tensor) -> Tensor:
        return self._group.all_reduce_min(lowest)

    def largest(self, values: Tensor, n: int) -> Tensor:
        return largest_of_group(values, n, self._group)

    def uniform(self, n_rows: int, width: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
        """Draw for all rows of the batch and keep the own ones: the numbers that one process would draw."""
        return self._group.shard_rows(super().uniform(n_rows * self._group.size, width, dtype, generator))


def batch_of(group: ReplicaGroup) -> Batch:
    """Return the batch that the processes of a group share."""
    return WHOLE_BATCH if group.size == 1 else ShardedBatch(group)
