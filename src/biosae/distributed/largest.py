"""Selection of the largest values over all processes of a group."""

from __future__ import annotations

import torch
from torch import Tensor

from .processes import ReplicaGroup

HALF = 16
"""Bits in half a float32."""


def largest_of_group(values: Tensor, n: int, group: ReplicaGroup) -> Tensor:
    """Return the places, ascending, of ``values`` here that are among the ``n`` largest of all processes.

    Together the processes have more than ``n`` values, all positive; of equal ones the first are taken. Positive
    float32 numbers are ordered like their bits: two histograms, of the upper and then of the lower half of the bits,
    give the ``n``-th largest number exactly.
    """
    bits = values.float().view(torch.int32)
    upper = bits >> HALF
    upper_edge, n = _bin_of_nth(upper, n, group)
    lower_edge, n = _bin_of_nth((bits & (1 << HALF) - 1)[upper == upper_edge], n, group)
    edge = (upper_edge << HALF) + lower_edge
    ties = (bits == edge).nonzero().squeeze(1)
    everywhere = group.all_reduce_sum(torch.eye(group.size, dtype=torch.int64)[group.rank] * len(ties))
    own = max(0, n - int(everywhere[: group.rank].sum()))
    return torch.cat([(bits > edge).nonzero().squeeze(1), ties[:own]]).sort().values


def _bin_of_nth(numbers: Tensor, n: int, group: ReplicaGroup) -> tuple[int, int]:
    """Return the ``n``-th largest whole number of all processes, and how many equal to it are among the ``n``."""
    counts = group.all_reduce_sum(torch.bincount(numbers, minlength=1 << HALF))
    above = counts.flip(0).cumsum(0).flip(0) - counts
    found = int((above < n).nonzero()[0])
    return found, n - int(above[found])
