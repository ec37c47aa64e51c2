"""Sparse counts of a data set by token."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

BLOCK_CELLS = 4096


def count_blocks(
    counts: sparse.csr_matrix, token_of_column: np.ndarray, n_vocabulary: int
) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Yield rows and their counts by token, ``(n_rows, n_vocabulary) float64``, tokens in ascending order.

    Columns with the same token are summed; those with token -1 are left out, and so are zeros.
    """
    known = np.flatnonzero(token_of_column >= 0)
    place = (np.ones(len(known)), (known, token_of_column[known]))
    to_token = sparse.csr_matrix(place, shape=(counts.shape[1], n_vocabulary))
    for start in range(0, max(counts.shape[0], 1), BLOCK_CELLS):
        rows = slice(start, start + BLOCK_CELLS)
        summed = sparse.csr_matrix(counts[rows].astype(np.float64) @ to_token)
        summed.eliminate_zeros()
        summed.sort_indices()
        yield rows, summed


def row_of_entry(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the row of each stored value, ``(nnz,) int64``."""
    return np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
