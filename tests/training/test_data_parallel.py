"""The batch that processes share, where no message is needed; all else is in test_shared_runs.py."""

from __future__ import annotations

import torch

from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.saes.batch import WHOLE_BATCH
from biosae.training.data_parallel import ShardedBatch, batch_of


def test_one_process_has_the_whole_batch():
    assert batch_of(SINGLE) is WHOLE_BATCH


def test_random_numbers_are_those_that_one_process_draws():
    def drawn(batch, n_rows: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.cat([batch.uniform(n_rows, 5, torch.float32, generator) for _ in range(2)])

    alone = drawn(WHOLE_BATCH, 6)
    for rank in range(3):
        assert torch.equal(drawn(ShardedBatch(ReplicaGroup(rank, 3)), 2), alone[rank::3])
