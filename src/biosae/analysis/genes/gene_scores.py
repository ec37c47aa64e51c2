"""Scores read from sums over tokens: a feature's genes (or residues), and how its code follows the input value."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.features.token_codes import TokenCodes

from .token_sums import TokenSums

GENES_PER_FEATURE = 50
NAMED_GENES = 10
QUARTILES = (0.25, 0.5, 0.75)


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
    """One row per feature: the columns of ``genes`` in docs/formats.md.

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


def expression_scores(sums: TokenSums) -> pd.DataFrame:
    """One row per feature: the columns of ``expression`` in docs/formats.md but for the quartiles.

    ``value_correlation`` is Pearson's, the code being 0 on the tokens where the feature is silent;
    ``within_gene_correlation`` is the same after each gene's means are taken off both.
    ``gene_identity_share`` is epsilon squared (Kelley 1935): the share of the code's variance
    between genes, less the share that genes would have by chance; 0 when the code does not know
    the gene (it can fall slightly below), 1 when the gene alone sets the code; ``context_share`` is
    the rest. NaN where a feature never fires or every token has the same code.
    """
    total = _sum_rows(sums.total)
    identity = _gene_identity_share(sums, total)
    columns = _value_where_active(sums) | {
        "value_correlation": _correlation(sums, total),
        "within_gene_correlation": _within_gene_correlation(sums),
        "gene_identity_share": identity,
        "context_share": 1 - identity,
    }
    return pd.DataFrame(columns).where(pd.Series(total > 0), axis=0).rename_axis("feature")


def value_quartiles(codes: TokenCodes, samples: np.ndarray) -> pd.DataFrame:
    """Quartiles of the input value where each feature is active, one row per feature; NaN where it never fires.

    One feature is in memory at a time.

    Parameters
    ----------
    samples
        Rows of the samples whose tokens count.
    """
    is_chosen = np.zeros(codes.n_samples, dtype=bool)
    is_chosen[samples] = True
    found = np.full((codes.d_sae, len(QUARTILES)), np.nan)
    for feature in range(codes.d_sae):
        entries = codes.entries(feature)
        value = entries.value[is_chosen[entries.sample]]
        if len(value):
            found[feature] = np.quantile(value, QUARTILES)
    return pd.DataFrame(found, columns=[f"value_active_q{round(100 * share)}" for share in QUARTILES])


def _value_where_active(sums: TokenSums) -> dict[str, np.ndarray]:
    """Mean and standard deviation of the input value, where the feature is active and where it is silent."""
    n_active = _sum_rows(sums.n_active)
    silent = (sums.value_total.sum() - sums.value, sums.value_squares.sum() - sums.value_square)
    columns = {}
    for where, n, summed, squares in (
        ("active", n_active, sums.value, sums.value_square),
        ("inactive", sums.n_tokens.sum() - n_active, *silent),
    ):
        mean = _ratio(summed, n)
        columns[f"value_{where}_mean"] = mean
        columns[f"value_{where}_std"] = np.sqrt(np.maximum(_ratio(squares, n) - mean**2, 0))
    return columns


def _correlation(sums: TokenSums, total: np.ndarray) -> np.ndarray:
    n = sums.n_tokens.sum()
    together = sums.value_code - total * sums.value_total.sum() / n
    of_code = sums.squares - total**2 / n
    of_value = sums.value_squares.sum() - sums.value_total.sum() ** 2 / n
    return _ratio(together, np.sqrt(np.maximum(of_code * of_value, 0)))


def _within_gene_correlation(sums: TokenSums) -> np.ndarray:
    """Correlation with the input value about the gene's own means; NaN where the gene alone sets the code."""
    mean_value = _ratio(sums.value_total, sums.n_tokens)
    together = sums.value_code - sums.total @ np.nan_to_num(mean_value)
    of_code = sums.squares - _between_genes(sums)
    of_value = (sums.value_squares - np.nan_to_num(mean_value) * sums.value_total).sum()
    is_rounding = of_code <= 1e-9 * sums.squares
    return _ratio(together, np.sqrt(np.maximum(np.where(is_rounding, 0, of_code) * of_value, 0)))


def _gene_identity_share(sums: TokenSums, total: np.ndarray) -> np.ndarray:
    n, n_genes = int(sums.n_tokens.sum()), np.count_nonzero(sums.n_tokens)
    eta_squared = _ratio(_between_genes(sums) - total**2 / n, sums.squares - total**2 / n)
    return 1 - (1 - eta_squared) * _ratio(np.float64(n - 1), np.float64(n - n_genes))


def _between_genes(sums: TokenSums) -> np.ndarray:
    """``(d_sae,)`` sum over tokens of the squared mean code of the token's gene."""
    return _sum_rows(sums.total.multiply(sums.total).multiply(1 / np.maximum(sums.n_tokens, 1)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _sum_rows(matrix) -> np.ndarray:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
