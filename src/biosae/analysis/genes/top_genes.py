"""Which genes (or residues) a feature fires on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from .token_sums import TokenSums

GENES_PER_FEATURE = 50
NAMED_GENES = 10


def gene_table(sums: TokenSums, vocabulary: pd.DataFrame) -> pd.DataFrame:
    """The genes with the largest share of each feature's activation: the columns of tables/genes.csv.

    Ordered by feature and then by descending share; a feature that never fires has no row.

    Parameters
    ----------
    vocabulary
        ``token``, ``identifier``, ``name``.
    """
    feature, token, summed = _leading_entries(sums.total, GENES_PER_FEATURE)
    n_active = _at(sums.n_active, feature, token)
    named = vocabulary.set_index("token").reindex(token)
    columns = {
        "feature": feature,
        "gene": named["name"].to_numpy(),
        "identifier": named["identifier"].to_numpy(),
        "n_tokens": n_active.astype(np.int64),
        "n_samples": _at(sums.n_samples, feature, token).astype(np.int64),
        "mean": summed / n_active,
        "max": _at(sums.largest, feature, token),
        "share": summed / _sum_rows(sums.total)[feature],
        "specificity": n_active / sums.n_tokens[token],
    }
    return pd.DataFrame(columns)


def gene_scores(sums: TokenSums, table: pd.DataFrame) -> pd.DataFrame:
    """One row a feature: the columns of ``genes`` in docs/formats.md.

    Parameters
    ----------
    table
        From `gene_table`.
    """
    total = _sum_rows(sums.total)
    fires = total > 0
    squares = _sum_rows(sums.total.multiply(sums.total))
    leading = table.groupby("feature", sort=True).head(NAMED_GENES).groupby("feature")
    columns = {
        "top_genes": leading["gene"].agg(";".join),
        "n_genes": pd.Series(np.diff(sums.total.indptr)[fires], np.flatnonzero(fires)),
        "effective_genes": pd.Series(total[fires] ** 2 / squares[fires], np.flatnonzero(fires)),
        "top_share": leading["share"].first(),
    }
    return pd.DataFrame(columns).reindex(range(len(total))).rename_axis("feature").astype({"n_genes": "Int64"})


def _leading_entries(matrix: sparse.csr_matrix, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of the ``n`` largest entries of each row, the largest first."""
    chosen = []
    for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        chosen.append(start + np.argsort(-matrix.data[start:end], kind="stable")[:n])
    row = np.repeat(np.arange(matrix.shape[0]), [len(entries) for entries in chosen])
    entries = np.concatenate(chosen).astype(np.int64)
    return row, matrix.indices[entries], matrix.data[entries]


def _at(matrix, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    return np.asarray(matrix[row, column]).ravel()


def _sum_rows(matrix) -> np.ndarray:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
