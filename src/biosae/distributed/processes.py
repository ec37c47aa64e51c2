"""The processes of one run: each takes its share of the rows, and what the whole batch decides is reduced over all."""

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
"""A process waits so long for a slower one; for a dead one it does not wait, as torchrun ends them all."""


@dataclass(frozen=True)
class ReplicaGroup:
    """The processes that work together, and which of them this one is; alone, nothing is sent.

    Every method but `share` is called by all of them, in the same order.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """Every ``size``-th row of those of all processes: at most one more than any other gets, and perhaps none."""
        return rows if self.size == 1 else rows[self.rank :: self.size]

    def whole(self, rows: Tensor, n_rows: int) -> Tensor:
        """The ``n_rows`` rows of which each process has its `share`."""
        if self.size == 1:
            return rows
        everything = rows.new_zeros(n_rows, *rows.shape[1:])
        everything[self.rank :: self.size] = rows
        return self.total(everything)

    def total(self, mine: Tensor) -> Tensor:
        """The sum over processes, without gradient."""
        return self._reduced(mine, dist.ReduceOp.SUM)

    def lowest(self, mine: Tensor) -> Tensor:
        """The minimum over processes, entry by entry."""
        return self._reduced(mine, dist.ReduceOp.MIN)

    def total_with_gradient(self, mine: Tensor) -> Tensor:
        """The sum over processes, for a loss that every process computes from it and divides by ``size``."""
        return mine if self.size == 1 else _Total.apply(mine, self)

    def count(self, mine: int) -> int:
        """The sum of whole numbers."""
        return mine if self.size == 1 else int(self.total(torch.tensor(mine)))

    def any(self, mine: bool) -> bool:
        """Whether it holds in some process."""
        return self.count(int(mine)) > 0

    def add_up(self, tensors: list[Tensor]) -> None:
        """Replaces each tensor by its sum over processes; their layout in memory is the same everywhere."""
        if self.size == 1:
            return
        laid_out = [tensor if tensor.is_contiguous() else tensor.t() for tensor in tensors]
        for work in [dist.all_reduce(tensor, async_op=True) for tensor in laid_out]:
            work.wait()

    def from_first(self, value: Any = None) -> Any:
        """What the first process has."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def gathered(self, value: Any) -> list[Any]:
        """What each process has."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Returns when all processes are here."""
        self.count(0)

    def _reduced(self, mine: Tensor, operation: dist.ReduceOp) -> Tensor:
        if self.size == 1:
            return mine
        reduced = mine.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(reduced, operation)
        return reduced


SINGLE = ReplicaGroup()


class _Total(Function):
    @staticmethod
    def forward(ctx, mine: Tensor, ranks: ReplicaGroup) -> Tensor:
        ctx.size = ranks.size
        return ranks.total(mine)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return ctx.size * grad, None


def current_group() -> ReplicaGroup:
    """The processes that are `connected` now."""
    return ReplicaGroup(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else SINGLE


@cache
def connections(name: str) -> dist.ProcessGroup:
    """Connections of all processes beside those of `Ranks`, for what is in main memory and for a thread of its own.

    The first call with a name is made by all processes in their main thread, in the same order of names.
    """
    return dist.new_group(backend="gloo", timeout=PATIENCE, group_desc=name)


@contextmanager
def init_distributed() -> Iterator[None]:
    """Connects the processes that torchrun started, for as long as the block runs.

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
    current_group().wait()  # so that no process closes a connection that another still uses
    dist.destroy_process_group()
    connections.cache_clear()


def hard_exit() -> NoReturn:
    """Ends a process whose work is done, at once.

    Threads of torch that outlive their group now and then abort a Python that ends in order (torch 2.13, gloo).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def is_first_to_fail() -> bool:
    """Whether no other process has asked this before, so that of all errors of a run one is told."""
    store, _, _ = next(dist.rendezvous("env://"))
    return store.add("biosae/failures", 1) == 1
