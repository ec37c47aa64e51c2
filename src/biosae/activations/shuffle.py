"""Batches in a shuffled order from groups of rows that are read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

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
    groups: Iterable[RowGroup], batch_size: int, generator: torch.Generator, start: int = 0
) -> Iterator[Tensor]:
    """``(batch_size, d_in) float32`` batches: the groups in order, each shuffled within.

    Batches run across the borders of groups; only the very last may be smaller. The first
    ``start`` batches are left out, and groups that lie wholly before them are not read.
    """
    skip, position = start * batch_size, 0
    pending: list[Tensor] = []
    for group in groups:
        order = torch.randperm(group.size, generator=generator)
        first = min(max(skip - position, 0), group.size)
        position += group.size
        if first == group.size:
            continue
        pending.append(group.read()[order[first:]])
        n_pending = sum(map(len, pending))
        if n_pending >= batch_size:
            rows = torch.cat(pending)
            whole = n_pending - n_pending % batch_size
            yield from (batch.float() for batch in rows[:whole].split(batch_size))
            pending = [rows[whole:]]
    rest = torch.cat(pending) if pending else torch.empty(0)
    if len(rest):
        yield rest.float()
