"""How a feature's code follows the input value of its token, and how much of it the gene alone explains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .token_sums import TokenSums


def expression_scores(sums: TokenSums) -> pd.DataFrame:
    """One row a feature: the columns of ``expression`` in docs/formats.md, over all tokens.

    ``value_correlation`` is Pearson's, the code being 0 on the tokens where the feature is silent.
    ``gene_identity_share`` is epsilon squared (Kelley 1935): the share of the code's variance
    between genes, less the share that genes would have by chance; 0 when the code does not know
    the gene (it can fall slightly below), 1 when the gene alone sets the code. NaN where a feature
    never fires or every token has the same code.
    """
    n = int(sums.n_tokens.sum())
    n_active = _sum_rows(sums.n_active)
    total = _sum_rows(sums.total)
    variation = sums.squares - total**2 / n
    value_variation = sums.value_squares - sums.value_total**2 / n
    together = sums.value_code - total * sums.value_total / n
    columns = {
        "value_active_mean": _ratio(sums.value, n_active),
        "value_inactive_mean": _ratio(sums.value_total - sums.value, n - n_active),
        "value_correlation": _ratio(together, np.sqrt(np.maximum(variation * value_variation, 0))),
        "gene_identity_share": _gene_identity_share(sums, variation, total, n),
    }
    fires = pd.Series(n_active > 0)
    return pd.DataFrame(columns).where(fires, axis=0).rename_axis("feature")


def _gene_identity_share(sums: TokenSums, variation: np.ndarray, total: np.ndarray, n: int) -> np.ndarray:
    per_gene = sums.total.multiply(sums.total).multiply(1 / np.maximum(sums.n_tokens, 1))
    between = _sum_rows(per_gene) - total**2 / n
    n_genes = np.count_nonzero(sums.n_tokens)
    eta_squared = _ratio(between, variation)
    return 1 - (1 - eta_squared) * _ratio(np.float64(n - 1), np.float64(n - n_genes))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _sum_rows(matrix) -> np.ndarray:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
