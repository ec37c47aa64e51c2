"""Batches in a shuffled order from groups of rows that are read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from biosae.distributed.processes import SINGLE, ReplicaGroup

Result = TypeVar("Result")


@dataclass(frozen=True)
class RowGroup:
    """Rows that are read and shuffled together.

    Attributes
    ----------
    size
        Number of rows, known without reading.
    read
        Those of the rows that a ``(size,) bool`` mask has true, ``(n, d_in)``, in a fixed order.
    """

    size: int
    read: Callable[[Tensor], Tensor]


def shuffled_batches(
    groups: Iterable[RowGroup],
    batch_size: int,
    generator: torch.Generator,
    start: int = 0,
    reads_ahead: bool = False,
    ranks: ReplicaGroup = SINGLE,
) -> Iterator[Tensor]:
    """``(batch_size, d_in) float32`` batches: the groups in order, each shuffled within.

    Batches run across the borders of groups; only the very last may be smaller. The first
    ``start`` batches are left out, and groups that lie wholly before them are not read.

    Parameters
    ----------
    reads_ahead
        A thread reads the next group while the batches of one are used; memory then holds two groups.
    ranks
        The processes that share every batch: each reads and gets its `share`, perhaps nothing of the last batch.
    """
    tasks = _reads(groups, start * batch_size, batch_size, generator, ranks)
    n_own = len(range(ranks.rank, batch_size, ranks.size))
    pending, n_given, end = torch.empty(0), start, 0
    for end, rows in one_ahead(tasks) if reads_ahead else (task() for task in tasks):
        pending = torch.cat([pending, rows]) if len(pending) else rows
        for _ in range(n_given, end // batch_size):
            yield pending[:n_own].float()
            pending = pending[n_own:]
        n_given = end // batch_size
    if end % batch_size:
        yield pending.float()


Read = tuple[int, Tensor]
"""How many rows of the epoch are over after a group, and its rows."""


def _reads(
    groups: Iterable[RowGroup], skip: int, batch_size: int, generator: torch.Generator, ranks: ReplicaGroup
) -> Iterator[Callable[[], Read]]:
    """For each group that does not lie wholly in the first ``skip`` rows, what gives its other rows shuffled."""
    end = 0
    for group in groups:
        order = torch.randperm(group.size, generator=generator)
        first = min(max(skip - end, 0), group.size)
        start, end = end + first, end + group.size
        if start < end:
            yield partial(_shuffled, group, _own(order[first:], start, batch_size, ranks), end)


def _own(order: Tensor, start: int, batch_size: int, ranks: ReplicaGroup) -> Tensor:
    """Those of the rows that this process has in its batches; the first is row ``start`` of the epoch."""
    if ranks.size == 1:
        return order
    place = torch.arange(start, start + len(order)) % batch_size
    return order[place % ranks.size == ranks.rank]


def _shuffled(group: RowGroup, order: Tensor, end: int) -> Read:
    wanted = torch.zeros(group.size, dtype=torch.bool)
    wanted[order] = True
    place = wanted.cumsum(0) - 1
    return end, group.read(wanted)[place[order]]


def one_ahead(tasks: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """What the tasks give, in order; a thread does the next one while a result is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="activations") as thread:
        following: Future | None = None
        for task in tasks:
            current, following = following, thread.submit(task)
            if current is not None:
                yield current.result()
        if following is not None:
            yield following.result()
