"""Batches in a shuffled order from buffers of rows that are read one at a time."""

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
class RowBuffer:
    """Rows that are read and shuffled together.

    Attributes
    ----------
    size
        Number of rows, known without reading.
    read
        Function from a ``(size,) bool`` mask to the ``(n, d_in)`` rows where it is true, in a fixed order.
    """

    size: int
    read: Callable[[Tensor], Tensor]


def shuffled_batches(
    buffers: Iterable[RowBuffer],
    batch_size: int,
    generator: torch.Generator,
    start: int = 0,
    reads_ahead: bool = False,
    group: ReplicaGroup = SINGLE,
) -> Iterator[Tensor]:
    """Yield ``(batch_size, d_in) float32`` batches: the buffers in order, each shuffled within.

    Batches run across the borders of buffers; only the very last may be smaller. The first
    ``start`` batches are left out, and buffers that lie wholly before them are not read.

    Parameters
    ----------
    reads_ahead
        A thread reads the next buffer while the batches of one are used; memory then holds two buffers.
    group
        Processes that share every batch: each reads and gets the rows of `shard_rows`, possibly none of the last batch.
    """
    tasks = _reads(buffers, start * batch_size, batch_size, generator, group)
    n_own = len(range(group.rank, batch_size, group.size))
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
"""Rows of the epoch up to and with a buffer, and the rows of the buffer."""


def _reads(
    buffers: Iterable[RowBuffer], skip: int, batch_size: int, generator: torch.Generator, group: ReplicaGroup
) -> Iterator[Callable[[], Read]]:
    """Yield functions that read the buffers, shuffled, without the first ``skip`` rows of the epoch."""
    end = 0
    for buffer in buffers:
        order = torch.randperm(buffer.size, generator=generator)
        first = min(max(skip - end, 0), buffer.size)
        start, end = end + first, end + buffer.size
        if start < end:
            yield partial(_shuffled, buffer, _own(order[first:], start, batch_size, group), end)


def _own(order: Tensor, start: int, batch_size: int, group: ReplicaGroup) -> Tensor:
    """Return the rows of this process in its batches; the first of ``order`` is row ``start`` of the epoch."""
    if group.size == 1:
        return order
    place = torch.arange(start, start + len(order)) % batch_size
    return order[place % group.size == group.rank]


def _shuffled(buffer: RowBuffer, order: Tensor, end: int) -> Read:
    wanted = torch.zeros(buffer.size, dtype=torch.bool)
    wanted[order] = True
    place = wanted.cumsum(0) - 1
    return end, buffer.read(wanted)[place[order]]


def one_ahead(tasks: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """Yield the results of tasks, in order; a thread runs the next one while a result is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="activations") as thread:
        following: Future | None = None
        for task in tasks:
            current, following = following, thread.submit(task)
            if current is not None:
                yield current.result()
        if following is not None:
            yield following.result()
