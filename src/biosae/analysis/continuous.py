"""How each feature follows a label that is a number: age, dose, pseudotime, a quality measure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse, stats

from biosae.errors import DataError

from .choice import Choice
from .fdr import benjamini_hochberg
from .ranks import Ranks, ranks
from .shuffling import shuffled_rows
from .sorted_codes import SortedCodes

MIN_SAMPLES = 10


def is_continuous(label: pd.Series, max_classes: int = 20) -> bool:
    """True for a column of numbers with more different values than a categorical label has classes."""
    is_number = pd.api.types.is_numeric_dtype(label.dtype) and not pd.api.types.is_bool_dtype(label.dtype)
    return bool(is_number and label.nunique() > max_classes)


def continuous_scores(
    codes: sparse.csr_matrix,
    label: pd.Series,
    part: np.ndarray,
    group: np.ndarray | None,
    n_permutations: int,
    seed: int,
) -> pd.DataFrame:
    """Spearman's correlation of every feature with a continuous label: the columns of ``label:<column>``.

    The direction is chosen on the select samples; correlation and p-values are of the test samples,
    in this direction. The label is shuffled within groups.

    Parameters
    ----------
    codes
        ``(n_samples, d_sae)`` non-negative.
    label
        A number of each sample; samples where it is missing are left out.
    part
        ``(n_samples,)`` part of the split.
    group
        ``(n_samples,)`` donor or batch, or None.

    Raises
    ------
    DataError
        If fewer than `MIN_SAMPLES` samples of a part have a value, or all have the same.
    """
    value = label.to_numpy(dtype=np.float64, na_value=np.nan)
    select, test = (_rows_with_value(value, part, name, str(label.name)) for name in ("select", "test"))
    on_select = spearman(_ranked(codes, select), value[select])
    direction = Choice(np.where(on_select < 0, -1.0, 1.0), select).for_report_on(test)
    ranked = _ranked(codes, test)
    on_test = spearman(ranked, value[test])
    group = np.zeros(len(test), dtype=int) if group is None else group[test]
    rows = shuffled_rows(group, n_permutations, np.random.default_rng(seed))
    shuffled = spearman_of_many(ranked, value[test][rows].T) * direction[:, None]  # (d_sae, n_permutations)
    largest = np.nanmax(np.abs(shuffled), axis=0, initial=0)
    fires = ~np.isnan(on_select) & ~np.isnan(on_test)
    p_single = np.where(fires, _pooled_p_values(on_test * direction, shuffled), np.nan)
    n_best = (largest[None, :] >= np.abs(on_test)[:, None] - 1e-9).sum(axis=1)
    columns = {
        "spearman_select": on_select,
        "spearman": on_test,
        "p_value": np.where(fires, (1 + n_best) / (1 + n_permutations), np.nan),
        "p_single": p_single,
        "q_value": benjamini_hochberg(p_single),
        "null_spearman": np.where(fires, np.percentile(largest, 95), np.nan),
    }
    return pd.DataFrame(columns).rename_axis("feature")


def spearman(ranked: Ranks, value: np.ndarray) -> np.ndarray:
    """``(d_sae,)`` rank correlation with ``(n_samples,)`` numbers; NaN where one side is constant."""
    return spearman_of_many(ranked, value[:, None])[:, 0]


def spearman_of_many(ranked: Ranks, values: np.ndarray) -> np.ndarray:
    """``(d_sae, n)`` rank correlations with each column of ``(n_samples, n)`` numbers."""
    n = len(values)
    of_value = stats.rankdata(values, axis=0) - (n + 1) / 2
    together = ranked.above_zero.T @ of_value
    squares = np.asarray(ranked.above_zero.multiply(ranked.above_zero).sum(axis=0)).ravel()
    variation = squares - np.asarray(ranked.above_zero.sum(axis=0)).ravel() ** 2 / n
    scale = np.sqrt(np.maximum(variation, 0))[:, None] * np.sqrt((of_value**2).sum(axis=0))
    return np.divide(together, scale, out=np.full(together.shape, np.nan), where=scale > 1e-9)


def _pooled_p_values(observed: np.ndarray, shuffled: np.ndarray) -> np.ndarray:
    """One-sided, among the shuffled values of all features in their own standard deviations."""
    mean, spread = shuffled.mean(axis=1, keepdims=True), shuffled.std(axis=1, keepdims=True)
    spread = np.where(spread > 0, spread, np.nan)
    null = np.sort(((shuffled - mean) / spread).ravel())
    null = null[~np.isnan(null)]
    score = (observed - mean[:, 0]) / spread[:, 0]
    return (1 + len(null) - np.searchsorted(null, score - 1e-9)) / (1 + len(null))


def _ranked(codes: sparse.csr_matrix, rows: np.ndarray) -> Ranks:
    return ranks(SortedCodes.of(codes[rows]))


def _rows_with_value(value: np.ndarray, part: np.ndarray, name: str, key: str) -> np.ndarray:
    rows = np.flatnonzero((part == name) & np.isfinite(value))
    if len(rows) < MIN_SAMPLES or np.ptp(value[rows]) == 0:
        message = f"{key} has {len(rows)} values, {len(np.unique(value[rows]))} different, in the part {name}"
        raise DataError(f"{message}; at least {MIN_SAMPLES} that differ are needed")
    return rows
