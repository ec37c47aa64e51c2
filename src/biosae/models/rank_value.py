"""Rank-value encoding: a cell as its genes, the most over-expressed first (Theodoris et al. 2023)."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .counts import count_blocks, row_of_entry
from .tokens import SpecialToken, TokenSequences, joined, with_special

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
    """Return cells as gene tokens in descending order of ``count / gene median``.

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
    blocks = count_blocks(counts, token_of_column, len(median))
    return joined([_encode_block(block, total[rows], median, max_genes, first, last) for rows, block in blocks])


def _encode_block(
    counts: sparse.csr_matrix,
    total: np.ndarray,
    median: np.ndarray,
    max_genes: int,
    first: tuple[int, ...],
    last: tuple[int, ...],
) -> TokenSequences:
    row = row_of_entry(counts)
    order = np.lexsort((counts.indices, -counts.data / median[counts.indices], row))
    rank = np.arange(len(order)) - counts.indptr[row]  # rows are contiguous, so row[order] == row
    order, row = order[rank < max_genes], row[rank < max_genes]
    return with_special(
        n_content=np.bincount(row, minlength=counts.shape[0]),
        token=counts.indices[order],
        value=counts.data[order] / total[row] * TARGET_SUM,
        first=[SpecialToken(id) for id in first],
        last=[SpecialToken(id) for id in last],
    )
