"""Exact searches for the largest entries of a matrix that read each entry once or twice."""

from __future__ import annotations

from math import inf

import numpy as np
import torch
from torch import Tensor

from biosae.distributed.processes import ReplicaGroup

from . import compiled
from .triton_modules import kernels

HALF = 16
"""Bits in half a float32."""


def largest_in_rows(matrix: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and columns, ``(n_rows, k)``, of the ``k`` largest entries of every row, in any order; NaN is largest."""
    search, found = kernels("search", matrix), None
    if search is not None and search.fits(matrix.shape[1], k):
        found = search.largest_in_rows(matrix, k)
    elif compiled.fits(matrix):
        found = compiled.largest_in_rows(matrix, k)
    return grouped_largest_in_rows(matrix, k) if found is None else found


def grouped_largest_in_rows(matrix: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The same with torch's operators.

    Columns are first joined into groups of ``g``, far apart. The ``k`` groups with the largest maxima
    hold the ``k`` largest entries, so only ``g * k`` candidates are searched.
    """
    n_rows, width = matrix.shape
    g = _group_size(width, k)
    if g == 1:
        return matrix.topk(k, sorted=False)
    n_groups = width // g
    groups = matrix.view(n_rows, g, n_groups).amax(1).topk(k, sorted=False).indices
    members = torch.arange(g, device=matrix.device) * n_groups
    candidates = (groups[:, None, :] + members[:, None]).view(n_rows, g * k)
    values, chosen = matrix.gather(1, candidates).topk(k, sorted=False)
    return values, candidates.gather(1, chosen)


def entries_above(matrix: Tensor, lowest: Tensor | float) -> tuple[Tensor, Tensor]:
    """Positions in the flattened matrix, ascending, and values of the entries above a number, or one a column."""
    if compiled.fits(matrix):
        return compiled.entries_above(matrix, lowest)
    found = (matrix > lowest).view(-1).nonzero().squeeze(1)
    return found, matrix.view(-1).index_select(0, found)


def batch_lower_bound(sample: Tensor, k: int) -> float:
    """A number that most likely fewer than all and more than ``k`` entries a row exceed, from some of the rows.

    Infinite without rows.
    """
    n_rows, width = sample.shape
    wanted = min(round(1.3 * k * n_rows) + 1, sample.numel())
    if wanted == 0:
        return inf
    return max(0.0, nth_largest(sample.flatten(), wanted))


def largest_of_all(values: Tensor, n: int, ranks: ReplicaGroup) -> Tensor:
    """Places, ascending, of the ``values`` here that are among the ``n`` largest of all processes, which have more.

    Of equal ones the first are taken. Over several processes: positive float32 numbers are ordered like their bits.
    Two histograms, of the upper and then of the lower half of the bits, give the ``n``-th largest number exactly.
    """
    if ranks.size == 1:
        edge = nth_largest(values, n)
        kept = values > edge
        kept[(values == edge).nonzero()[: n - int(kept.sum())]] = True
        return kept.nonzero().squeeze(1)
    bits = values.float().view(torch.int32)
    upper = bits >> HALF
    upper_edge, n = _bin_of_nth(upper, n, ranks)
    lower_edge, n = _bin_of_nth((bits & (1 << HALF) - 1)[upper == upper_edge], n, ranks)
    edge = (upper_edge << HALF) + lower_edge
    ties = (bits == edge).nonzero().squeeze(1)
    everywhere = ranks.total(torch.eye(ranks.size, dtype=torch.int64)[ranks.rank] * len(ties))
    own = max(0, n - int(everywhere[: ranks.rank].sum()))
    return torch.cat([(bits > edge).nonzero().squeeze(1), ties[:own]]).sort().values


def nth_largest(values: Tensor, n: int) -> float:
    """The ``n``-th largest of a vector, exactly; NaN is largest."""
    place = len(values) - n
    if values.device.type == "cpu":  # numpy's selection uses vector registers: 17 times as fast as torch's
        return np.partition(values.numpy(), place)[place].item()
    return values.topk(n, sorted=False).values.nan_to_num(nan=inf, posinf=inf).min().item()


def _bin_of_nth(numbers: Tensor, n: int, ranks: ReplicaGroup) -> tuple[int, int]:
    """The ``n``-th largest of the whole numbers of all processes, and how many of its equals are among the ``n``."""
    counts = ranks.total(torch.bincount(numbers, minlength=1 << HALF))
    above = counts.flip(0).cumsum(0).flip(0) - counts
    found = int((above < n).nonzero()[0])
    return found, n - int(above[found])


def _group_size(width: int, k: int) -> int:
    """The power of two near ``sqrt(width / k)`` that divides the width: both stages then search alike much."""
    g = 1
    while (2 * g) ** 2 * k <= 2 * width and width % (2 * g) == 0:
        g *= 2
    return g if width > 256 else 1
