"""Rank correlation of each feature with a label that is a number: age, dose, pseudotime, a quality measure."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from scipy import sparse, stats

from biosae.analysis.stats.auroc import Midranks, SortedCodes, midranks
from biosae.analysis.stats.held_out import HeldOutSelection
from biosae.analysis.stats.permutation_tests import (
    Tally,
    benjamini_hochberg,
    pools_of_like_activity,
    rank_sum_moments,
    shuffled_rows,
)
from biosae.errors import DataError

from .classes import LabelColumn

MIN_SAMPLES = 10
MAX_CLUSTERS = 100
MIN_PER_CLUSTER = 5
CLUSTER_NAME = re.compile(r"cluster|leiden|louvain|community|k-?means|phenograph|metacell|_res[._]", re.IGNORECASE)
VALUES_PER_BLOCK = 1 << 24  # shuffled numbers, or their sums, that are in memory at once


def is_number(label: pd.Series) -> bool:
    """True for a column of numbers, which may yet be the numbers of classes."""
    return pd.api.types.is_numeric_dtype(label.dtype) and not pd.api.types.is_bool_dtype(label.dtype)


def is_continuous(label: pd.Series, max_classes: int = 20) -> bool:
    """True for a column of numbers with more different values than a label of classes has.

    Cluster numbers are classes: whole numbers, `MAX_CLUSTERS` at most, in a column that is named as one of clusters
    or that counts from 0 or 1 without a gap, `MIN_PER_CLUSTER` samples for each on average.
    """
    return is_number(label) and label.nunique() > max_classes and not _are_clusters(label)


def _are_clusters(label: pd.Series) -> bool:
    different = np.sort(label.dropna().unique().astype(np.float64))
    if len(different) > MAX_CLUSTERS or (different % 1 != 0).any():
        return False
    counts_up = different[0] in (0, 1) and different[-1] - different[0] == len(different) - 1
    counts_up &= label.notna().sum() >= MIN_PER_CLUSTER * len(different)
    return bool(counts_up or CLUSTER_NAME.search(str(label.name)))


def continuous_scores(codes: sparse.csr_matrix, label: LabelColumn, n_permutations: int, seed: int) -> pd.DataFrame:
    """Spearman's correlation of every feature with a continuous label: the columns of ``label:<column>``.

    The direction is chosen on the select samples; correlation and p-values are of the test samples,
    in this direction. The label is shuffled within groups.

    Parameters
    ----------
    codes
        ``(n_samples, d_sae)`` non-negative.
    label
        Of numbers.

    Raises
    ------
    DataError
        If fewer than `MIN_SAMPLES` samples of a part have a value, or all have the same.
    """
    value = label.values.to_numpy(dtype=np.float64, na_value=np.nan)
    select, test = (_rows_with_value(value, label.part, name, label.name) for name in ("select", "test"))
    on_select = spearman(_ranked(codes, select), value[select])
    direction = HeldOutSelection(np.where(on_select < 0, -1.0, 1.0), select).for_report_on(test)
    ranked = _ranked(codes, test)
    on_test = spearman(ranked, value[test])
    generator = np.random.default_rng(seed)
    strongest, p_single = _shuffled_null(ranked, value[test], label.groups[test], direction, n_permutations, generator)
    fires = ~np.isnan(on_select) & ~np.isnan(on_test)
    p_single = np.where(fires, p_single, np.nan)
    n_best = (strongest >= (on_test * direction)[:, None] - 1e-9).sum(axis=1)
    columns = {
        "spearman_select": on_select,
        "spearman": on_test,
        "p_value": np.where(fires & ~np.isnan(strongest).any(), (1 + n_best) / (1 + n_permutations), np.nan),
        "p_single": p_single,
        "q_value": benjamini_hochberg(p_single),
        "null_spearman": np.where(fires, np.percentile(strongest, 95), np.nan),
    }
    return pd.DataFrame(columns).rename_axis("feature")


def spearman(ranked: Midranks, value: np.ndarray) -> np.ndarray:
    """``(d_sae,)`` rank correlation with ``(n_samples,)`` numbers; NaN where one side is constant."""
    of_value = stats.rankdata(value)
    return _correlation(ranked, (ranked.above_zero.T @ of_value)[:, None], of_value)[:, 0]


def _correlation(ranked: Midranks, rank_sums: np.ndarray, of_value: np.ndarray) -> np.ndarray:
    """``(d_sae, n)`` correlations from the ranks above zero summed by ``(n_samples,)`` ranks in some order."""
    n, totals = len(of_value), np.asarray(ranked.above_zero.sum(axis=0)).ravel()
    squares = np.asarray(ranked.above_zero.multiply(ranked.above_zero).sum(axis=0)).ravel()
    variations = np.maximum(squares - totals**2 / n, 0) * ((of_value - of_value.mean()) ** 2).sum()
    scale = np.sqrt(variations)[:, None]
    together = rank_sums - totals[:, None] * of_value.mean()
    return np.divide(together, scale, out=np.full(together.shape, np.nan), where=scale > 1e-9)


def _shuffled_null(
    ranked: Midranks,
    value: np.ndarray,
    group: np.ndarray,
    direction: np.ndarray,
    n_permutations: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffle the numbers within groups; ``direction`` is the sign in which each feature is tested.

    Returns
    -------
    The strongest correlation of any feature in either direction, ``(n_permutations,)``; the p-value of each feature
    as for labels, ``(d_sae,)``. Both are NaN where shuffling changes nothing.
    """
    of_value, sign = stats.rankdata(value), direction[:, None]
    mean, deviation = rank_sum_moments(ranked, of_value[:, None], group)
    observed = (ranked.above_zero.T @ of_value)[:, None] - mean
    observed = np.divide(sign * observed, deviation, out=np.full(mean.shape, np.nan), where=deviation > 0)
    pools = pools_of_like_activity(ranked)
    tallies = [Tally(observed[features]) for features in pools]
    strongest = []
    n_block = max(1, VALUES_PER_BLOCK // max(len(value), len(direction)))
    for first in range(0, n_permutations, n_block):
        rows = shuffled_rows(group, min(n_block, n_permutations - first), generator)
        sums = ranked.above_zero.T @ of_value[rows].T  # (d_sae, n_block)
        strongest.append(np.nanmax(np.abs(_correlation(ranked, sums, of_value)), axis=0, initial=0))
        for features, tally in zip(pools, tallies, strict=True):
            signed = (sums[features] * sign[features]).T[:, :, None]
            tally.add(signed, mean[features] * sign[features], deviation[features])
    p_single = np.empty(len(direction))
    for features, tally in zip(pools, tallies, strict=True):
        p_single[features] = tally.p_values()[:, 0]
    null = np.concatenate(strongest)
    return (null if (deviation > 0).any() else np.full_like(null, np.nan)), p_single


def _ranked(codes: sparse.csr_matrix, rows: np.ndarray) -> Midranks:
    return midranks(SortedCodes.of(codes[rows]))


def _rows_with_value(value: np.ndarray, part: np.ndarray, name: str, key: str) -> np.ndarray:
    rows = np.flatnonzero((part == name) & np.isfinite(value))
    if len(rows) < MIN_SAMPLES or np.ptp(value[rows]) == 0:
        message = f"{key} has {len(rows)} values, {len(np.unique(value[rows]))} different, in the part {name}"
        raise DataError(f"{message}; at least {MIN_SAMPLES} that differ are needed")
    return rows
