"""Rank-value encoding: a cell as its genes, the most over-expressed first (Theodoris et al. 2023)."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .tokens import TokenSequences

TARGET_SUM = 10_000  # gene medians are stored in counts per 10,000


def rank_value_encode(
    counts: sparse.csr_matrix,
    total: np.ndarray,
    token_of_column: np.ndarray,
    median: np.ndarray,
    max_genes: int,
    first: tuple[int, ...] = (),
    last: tuple[int, ...] = (),
) -> TokenSequences:
    """Cells as gene tokens in descending order of ``count / gene median``.

    Ranks are computed in float64 and equal ratios are ordered by token id, so that neither the
    order of the columns nor the processor changes the result (the official tokenizer leaves the
    order of ties to numpy's quicksort). Columns with the same token are summed first.

    Parameters
    ----------
    counts
        ``(n_cells, n_columns)`` raw counts.
    total
        ``(n_cells,)`` counts of the whole library, for the token values.
    token_of_column
        ``(n_columns,) int``, -1 for a column that the vocabulary does not know.
    median
        ``(n_vocabulary,) float64`` non-zero median of each gene in counts per 10,000.
    max_genes
        Genes kept per cell.
    first, last
        Special tokens put around the genes of every cell that has any.
    """
    blocks = []
    for start in range(0, max(counts.shape[0], 1), 4096):
        rows = slice(start, start + 4096)
        per_token = _sum_by_token(counts[rows], token_of_column, len(median))
        blocks.append(_encode_block(per_token, total[rows], median, max_genes, first, last))
    return _concatenate(blocks)


def _sum_by_token(counts: sparse.csr_matrix, token_of_column: np.ndarray, n_vocabulary: int) -> sparse.csr_matrix:
    known = np.flatnonzero(token_of_column >= 0)
    ones = np.ones(len(known))
    to_token = sparse.csr_matrix((ones, (known, token_of_column[known])), shape=(counts.shape[1], n_vocabulary))
    summed = (counts.astype(np.float64) @ to_token).tocsr()
    summed.eliminate_zeros()
    summed.sort_indices()
    return summed


def _encode_block(
    counts: sparse.csr_matrix,
    total: np.ndarray,
    median: np.ndarray,
    max_genes: int,
    first: tuple[int, ...],
    last: tuple[int, ...],
) -> TokenSequences:
    n_cells = counts.shape[0]
    row = np.repeat(np.arange(n_cells), np.diff(counts.indptr))
    order = np.lexsort((counts.indices, -counts.data / median[counts.indices], row))
    rank = np.arange(len(order)) - counts.indptr[row]  # rows are contiguous, so row[order] == row
    order, row, rank = (a[rank < max_genes] for a in (order, row, rank))

    n_genes = np.bincount(row, minlength=n_cells)
    n_special = len(first) + len(last)
    lengths = np.where(n_genes > 0, n_genes + n_special, 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    token = np.zeros(offsets[-1], dtype=np.int32)
    value = np.zeros(offsets[-1], dtype=np.float32)
    special = np.ones(offsets[-1], dtype=bool)

    position = offsets[row] + len(first) + rank
    token[position] = counts.indices[order]
    value[position] = counts.data[order] / total[row] * TARGET_SUM
    special[position] = False
    occupied = np.flatnonzero(n_genes)
    for place, id in enumerate(first):
        token[offsets[occupied] + place] = id
    for place, id in enumerate(reversed(last)):
        token[offsets[occupied + 1] - 1 - place] = id
    return TokenSequences(token, value, special, offsets)


def _concatenate(blocks: list[TokenSequences]) -> TokenSequences:
    lengths = np.concatenate([b.lengths for b in blocks])
    return TokenSequences(
        token=np.concatenate([b.token for b in blocks]),
        value=np.concatenate([b.value for b in blocks]),
        special=np.concatenate([b.special for b in blocks]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
    )
