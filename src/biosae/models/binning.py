"""scGPT's expression bins: the counts of a cell cut at their own quantiles (Cui et al. 2024)."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .counts import row_of_entry


def bin_counts(counts: sparse.csr_matrix, n_bins: int, draw: np.ndarray | None = None) -> np.ndarray:
    """Return the bin 1 ... ``n_bins - 1`` of every stored count, from its rank within its cell.

    Edges are the ``n_bins - 1`` quantiles of the cell's non-zero counts. Equal counts may span many
    edges (in droplet data most do): the official code draws a bin among those they span, anew at
    every run. Scaling or taking logarithms of a cell beforehand changes nothing.

    Parameters
    ----------
    counts
        ``(n_cells, n_genes)`` without stored zeros.
    draw
        ``(nnz,)`` uniform numbers in [0, 1) that choose among the spanned bins as the official code
        does; None takes the middle one.
    """
    edges = _quantiles(counts, n_bins - 1)
    row = row_of_entry(counts)
    at_most, below = np.zeros(counts.nnz, np.int64), np.zeros(counts.nnz, np.int64)
    for quantile in edges.T:  # one pass per edge keeps memory at a few numbers per count
        edge = quantile[row]
        at_most += edge <= counts.data
        below += edge < counts.data
    if draw is None:
        # The bins below + 1 ... at_most are spanned (just at_most when they are equal); of two middle ones the upper.
        return np.minimum((below + at_most + 2) // 2, at_most)
    return np.ceil(draw * (below - at_most) + at_most).astype(np.int64)


def _quantiles(counts: sparse.csr_matrix, n_edges: int) -> np.ndarray:
    """``(n_cells, n_edges) float64`` evenly spaced quantiles of each row's stored counts.

    Linear interpolation with the operations of `numpy.quantile` one by one: an edge that falls on a
    count must be rounded the same way, or bins differ by one.
    """
    row, n = row_of_entry(counts), np.diff(counts.indptr)
    ordered = np.append(counts.data[np.lexsort((counts.data, row))].astype(np.float64), 0.0)
    position = np.maximum(n - 1, 0)[:, None] * np.linspace(0, 1, n_edges)  # (n_cells, n_edges)
    lower = np.floor(position)
    share = position - lower
    first = counts.indptr[:-1, None] + lower.astype(np.int64)
    last = np.minimum(first + 1, np.maximum(counts.indptr[1:, None] - 1, first))
    a, b = ordered[first], ordered[last]
    return np.where(share < 0.5, a + (b - a) * share, b - (b - a) * (1 - share))
