"""Batches in a shuffled order from groups of rows that are read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowGroup:
    """Rows that are read and shuffled together.

    Attributes
    ----------
    size
        Number of rows, known without reading.
    read
        The rows, ``(size, d_in)``, in a fixed order.
    """

    size: int
    read: Callable[[], Tensor]


def shuffled_batches(
    groups: Iterable[RowGroup], batch_size: int, generator: torch.Generator, start: int = 0, reads_ahead: bool = False
) -> Iterator[Tensor]:
    """``(batch_size, d_in) float32`` batches: the groups in order, each shuffled within.

    Batches run across the borders of groups; only the very last may be smaller. The first
    ``start`` batches are left out, and groups that lie wholly before them are not read.

    Parameters
    ----------
    reads_ahead
        A thread reads the next group while the batches of one are used; memory then holds two groups.
    """
    tasks = _reads(groups, start * batch_size, generator)
    pending = torch.empty(0)
    for rows in _one_ahead(tasks) if reads_ahead else (task() for task in tasks):
        pending = torch.cat([pending, rows]) if len(pending) else rows
        whole = len(pending) - len(pending) % batch_size
        yield from (batch.float() for batch in pending[:whole].split(batch_size) if whole)
        pending = pending[whole:]
    if len(pending):
        yield pending.float()


def _reads(groups: Iterable[RowGroup], skip: int, generator: torch.Generator) -> Iterator[Callable[[], Tensor]]:
    """For each group that does not lie wholly in the first ``skip`` rows, what gives its other rows shuffled."""
    position = 0
    for group in groups:
        order = torch.randperm(group.size, generator=generator)
        first = min(max(skip - position, 0), group.size)
        position += group.size
        if first < group.size:
            yield partial(_shuffled, group, order[first:])


def _shuffled(group: RowGroup, order: Tensor) -> Tensor:
    return group.read()[order]


def _one_ahead(tasks: Iterable[Callable[[], Tensor]]) -> Iterator[Tensor]:
    """What the tasks give, in order; a thread does the next one while a result is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="activations") as thread:
        following: Future | None = None
        for task in tasks:
            current, following = following, thread.submit(task)
            if current is not None:
                yield current.result()
        if following is not None:
            yield following.result()
