"""Process groups: the processes of one run, each with its shard of the rows, and reductions over all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from biosae.errors import LostRankError

PATIENCE = timedelta(days=7)
"""Time that a process waits for a slower one; it does not wait for a dead one, as torchrun ends them all."""


@dataclass(frozen=True)
class ReplicaGroup:
    """Processes that work together, and the rank of this one; nothing is sent while ``size`` is 1.

    Every method but `shard_rows` is a collective: all processes call it, in the same order.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """True in the process that writes files and logs."""
        return self.rank == 0

    def shard_rows(self, rows: Tensor) -> Tensor:
        """Return every ``size``-th row: at most one more than any other process gets, possibly none."""
        return rows if self.size == 1 else rows[self.rank :: self.size]

    def all_reduce_sum(self, mine: Tensor) -> Tensor:
        """Return the sum over processes.

        Differentiable for a loss that every process computes from the sum: each summand gets the gradient of the sum.
        """
        return mine if self.size == 1 else _AllReduceSum.apply(mine)

    def all_reduce_min(self, mine: Tensor) -> Tensor:
        """Return the minimum over processes, entry by entry."""
        return mine if self.size == 1 else _reduced(mine, dist.ReduceOp.MIN)

    def all_reduce_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over processes; its layout in memory is the same in all of them."""
        if self.size == 1:
            return
        laid_out = [tensor if tensor.is_contiguous() else tensor.t() for tensor in tensors]
        for work in [dist.all_reduce(tensor, async_op=True) for tensor in laid_out]:
            work.wait()

    def count(self, mine: int) -> int:
        """Return the sum of whole numbers over processes."""
        return mine if self.size == 1 else int(self.all_reduce_sum(torch.tensor(mine)))

    def any(self, mine: bool) -> bool:
        """Return whether a condition holds in any process."""
        return self.count(int(mine)) > 0

    def broadcast(self, value: Any = None) -> Any:
        """Return the value of the first process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def all_gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Return when all processes have called it."""
        self.count(0)


SINGLE = ReplicaGroup()


class _AllReduceSum(Function):
    @staticmethod
    def forward(ctx, mine: Tensor) -> Tensor:
        return _reduced(mine, dist.ReduceOp.SUM)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad


def _reduced(mine: Tensor, operation: dist.ReduceOp) -> Tensor:
    reduced = mine.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(reduced, operation)
    return reduced


def current_group() -> ReplicaGroup:
    """Return the group of this process: that of `init_distributed`, or `SINGLE`."""
    return ReplicaGroup(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else SINGLE


@cache
def connections(name: str) -> dist.ProcessGroup:
    """Return further connections of all processes, for tensors in main memory and for a thread of its own.

    The first call with a name is made by all processes in their main thread, in the same order of names.
    """
    return dist.new_group(backend="gloo", timeout=PATIENCE, group_desc=name)


@contextmanager
def init_distributed() -> Iterator[None]:
    """Connect the processes that torchrun started, for as long as the block runs.

    Raises
    ------
    LostRankError
        If another process is gone.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error):
            raise LostRankError("another process of this run ended; its own message, if any, says why") from error
        raise
    current_group().barrier()  # so that no process closes a connection that another still uses
    dist.destroy_process_group()
    connections.cache_clear()


def hard_exit() -> NoReturn:
    """End a process whose work is done, at once.

    Threads of torch that outlive their group now and then abort a Python that exits normally (torch 2.13, gloo).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def is_first_to_fail() -> bool:
    """Return True in the first process that asks, so that one error of a run is reported."""
    store, _, _ = next(dist.rendezvous("env://"))
    return store.add("biosae/failures", 1) == 1
