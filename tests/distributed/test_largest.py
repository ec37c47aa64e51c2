"""The exact selection over several processes, played by threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biosae.distributed.largest import largest_of_group


@dataclass
class Thread:
    """The part of `ReplicaGroup` that the selection uses."""

    rank: int
    size: int
    barrier: threading.Barrier
    table: list

    def all_reduce_sum(self, mine):
        self.table[self.rank] = mine
        self.barrier.wait()
        whole = sum(self.table)
        self.barrier.wait()
        return whole


few_numbers = st.sampled_from([1e-38, 0.5, 0.50000006, 1.0, 3.0, 1e30])  # ties, neighbours, the ends of the range


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(few_numbers, max_size=12), min_size=2, max_size=4), st.data())
def test_as_many_as_wanted_and_none_that_is_smaller_than_one_left_out(parts, data):
    parts = [torch.tensor(part, dtype=torch.float32) for part in parts]
    everything = torch.cat(parts)
    if len(everything) < 2:
        return
    n = data.draw(st.integers(1, len(everything) - 1))
    barrier, table = threading.Barrier(len(parts)), [None] * len(parts)
    with ThreadPoolExecutor(len(parts)) as pool:
        jobs = [
            pool.submit(largest_of_group, part, n, Thread(rank, len(parts), barrier, table))
            for rank, part in enumerate(parts)
        ]
        kept = [job.result(timeout=30) for job in jobs]
    assert all((places.diff() > 0).all() for places in kept)
    chosen = torch.cat([part[places] for part, places in zip(parts, kept, strict=True)])
    torch.testing.assert_close(chosen.sort().values, everything.topk(n).values.sort().values, rtol=0, atol=0)
