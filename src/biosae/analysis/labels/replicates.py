"""Tests in which the donor counts, not the cell: pseudobulk codes compared over donors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
from scipy import sparse, stats

from biosae.analysis.stats.auroc import SortedCodes, midranks
from biosae.analysis.stats.permutation_tests import benjamini_hochberg

from .continuous import spearman

MIN_CELLS = 5  # of a class, and outside it, that a donor needs for a mean of its own
MIN_DONORS = 3
EXACT_DONORS = 12
EXACT_ORDERS = 7  # donors in all their orders


@dataclass(frozen=True, eq=False)
class Pseudobulk:
    """Mean codes of a donor's samples inside and outside a class.

    Attributes
    ----------
    donors
        Names of the donors that count.
    inside, outside
        ``(n_donors, d_sae) float64``; a donor that has only one side is NaN on the other.
    """

    donors: list[str]
    inside: np.ndarray
    outside: np.ndarray

    @property
    def is_within_donors(self) -> bool:
        """True when every donor has both sides, so that each is its own control."""
        return not (np.isnan(self.inside).any() or np.isnan(self.outside).any())


def pseudobulk(codes: sparse.csr_matrix, is_member: np.ndarray, donor: np.ndarray) -> Pseudobulk:
    """Averages codes per donor.

    Donors with at least `MIN_CELLS` samples on both sides are used when there are `MIN_DONORS` of
    them. Otherwise, as for a label that belongs to the donor (disease, sex), each donor stands on
    the side of most of its samples.
    """
    names, number = np.unique(donor, return_inverse=True)
    sides = [_mean_per_donor(codes, number, len(names), chosen) for chosen in (is_member, ~is_member)]
    (inside, n_inside), (outside, n_outside) = sides
    both = (n_inside >= MIN_CELLS) & (n_outside >= MIN_CELLS)
    if both.sum() >= MIN_DONORS:
        return Pseudobulk(list(names[both]), inside[both], outside[both])
    belongs = n_inside > n_outside
    kept = np.maximum(n_inside, n_outside) >= MIN_CELLS
    inside[~belongs], outside[belongs] = np.nan, np.nan
    return Pseudobulk(list(names[kept]), inside[kept], outside[kept])


def donor_scores(
    codes: sparse.csr_matrix, label: np.ndarray, donor: np.ndarray, class_of_feature: np.ndarray
) -> pd.DataFrame:
    """Test whether each feature marks its class in donor after donor: the columns of ``donors:<column>``.

    One-sided Wilcoxon signed-rank test over donors when each has both sides, else Mann-Whitney test
    between donors; exact for few donors. Undefined with fewer than `MIN_DONORS` donors
    (on either side, between donors).

    Parameters
    ----------
    codes
        ``(n_samples, d_sae)`` of the samples to report on.
    label, donor
        ``(n_samples,)``; samples without a label (None) count as outside.
    class_of_feature
        ``(d_sae,)`` the class that was chosen elsewhere; None for a feature without one.
    """
    columns = {name: np.full(codes.shape[1], np.nan) for name in ("n_donors", "difference", "consistency", "p_value")}
    for name in sorted({c for c in class_of_feature if isinstance(c, str)}):
        features = np.flatnonzero(class_of_feature == name)
        bulk = pseudobulk(codes[:, features], label == name, donor)
        for column, values in _compare(bulk).items():
            columns[column][features] = values
    columns["q_value"] = benjamini_hochberg(columns["p_value"])
    return pd.DataFrame(columns).rename_axis("feature").astype({"n_donors": "Int64"})


def donor_correlations(
    codes: sparse.csr_matrix, value: np.ndarray, donor: np.ndarray, direction: np.ndarray
) -> pd.DataFrame:
    """Test whether each feature follows a number in donor after donor: the columns of ``donors:<column>`` of numbers.

    A number that differs within `MIN_DONORS` donors or more is correlated with the codes within each of them, and
    the donors' correlations are tested by their signs and ranks. One that belongs to the donor (age) is correlated
    with the donors' mean codes; exact over all orders of up to `EXACT_ORDERS` donors, else by Student's t.

    Parameters
    ----------
    codes
        ``(n_samples, d_sae)`` of the samples to report on.
    value, donor
        ``(n_samples,)``.
    direction
        ``(d_sae,)`` sign that was chosen elsewhere; NaN for a feature without one.
    """
    counted = pd.Series(value).groupby(donor).agg(["size", "nunique"]).query(f"size >= {MIN_CELLS}")
    varies = counted.index[counted["nunique"] > 1]
    if len(varies) >= MIN_DONORS:
        own = np.array([_correlation(codes[donor == name], value[donor == name]) for name in varies])
        columns = _within(np.nan_to_num(own) * np.nan_to_num(direction), len(varies))
        columns["correlation"] = columns.pop("difference") * direction
    elif len(counted) >= MIN_DONORS:
        mean_code, mean_value = (
            np.array([each[donor == name].mean(axis=0) for name in counted.index]) for each in (codes, value)
        )
        columns = _between(mean_code.reshape(len(counted), -1), mean_value, direction) | {"n_donors": len(counted)}
    else:
        columns = {"n_donors": len(counted)}
    names = ("n_donors", "correlation", "consistency", "p_value")
    found = pd.DataFrame({name: columns.get(name, np.nan) for name in names}, index=range(codes.shape[1]))
    found = found.where(pd.Series(~np.isnan(direction)), axis=0).rename_axis("feature")
    return found.assign(q_value=benjamini_hochberg(found["p_value"].to_numpy(dtype=np.float64))).astype(
        {"n_donors": "Int64"}
    )


def _correlation(codes: sparse.csr_matrix, value: np.ndarray) -> np.ndarray:
    return spearman(midranks(SortedCodes.of(codes)), value)


def _between(mean_code: np.ndarray, mean_value: np.ndarray, direction: np.ndarray) -> dict[str, np.ndarray]:
    correlation = _correlation(sparse.csr_matrix(mean_code), mean_value)
    n_donors = len(mean_value)
    toward = correlation * direction
    if n_donors > EXACT_ORDERS:
        score = toward * np.sqrt((n_donors - 2) / np.maximum(1 - toward**2, 1e-12))
        return {"correlation": correlation, "p_value": stats.t.sf(score, n_donors - 2)}
    codes_ranked = midranks(SortedCodes.of(sparse.csr_matrix(mean_code))).above_zero
    orders = stats.rankdata(mean_value)[list(permutations(range(n_donors)))]  # (n_orders, n_donors)
    sums, observed = orders @ codes_ranked * direction, codes_ranked.T @ stats.rankdata(mean_value) * direction
    p_value = np.where(np.isnan(toward), np.nan, (sums >= observed - 1e-9).mean(axis=0))
    return {"correlation": correlation, "p_value": p_value}


def _compare(bulk: Pseudobulk) -> dict[str, np.ndarray | int | float]:
    if bulk.is_within_donors:
        return _within(bulk.inside - bulk.outside, len(bulk.donors))
    inside, outside = (side[~np.isnan(side[:, 0])] for side in (bulk.inside, bulk.outside))
    if min(len(inside), len(outside)) < MIN_DONORS:
        return {"n_donors": len(bulk.donors)}
    larger = inside[:, None] > outside  # (n_inside, n_outside, d_sae)
    return {
        "n_donors": len(bulk.donors),
        "difference": inside.mean(axis=0) - outside.mean(axis=0),
        "consistency": larger.mean(axis=(0, 1)),
        "p_value": stats.mannwhitneyu(inside, outside, alternative="greater", axis=0).pvalue,
    }


def _within(difference: np.ndarray, n_donors: int) -> dict[str, np.ndarray | int | float]:
    if n_donors < MIN_DONORS:
        return {"n_donors": n_donors}
    return {
        "n_donors": n_donors,
        "difference": difference.mean(axis=0),
        "consistency": (difference > 0).mean(axis=0),
        "p_value": signed_rank_p_values(difference),
    }


def signed_rank_p_values(difference: np.ndarray) -> np.ndarray:
    """``(d_sae,)`` one-sided p-values of Wilcoxon's signed-rank test for ``(n_donors, d_sae)`` differences.

    Exact over all sign flips, with ties and zeros, for up to `EXACT_DONORS` donors; beyond that by
    the normal distribution with the mean and variance of the flips.
    """
    n_donors = len(difference)
    size = np.abs(difference)
    rank = np.where(size > 0, stats.rankdata(size, axis=0) - (size == 0).sum(axis=0), 0)  # zeros have no sign
    observed = (rank * (difference > 0)).sum(axis=0)
    if n_donors > EXACT_DONORS:
        spread = np.sqrt((rank**2).sum(axis=0) / 4)
        score = np.divide(observed - rank.sum(axis=0) / 2, spread, out=np.zeros(len(spread)), where=spread > 0)
        return np.where(spread > 0, stats.norm.sf(score), 1.0)
    flips = np.arange(2**n_donors)[:, None] >> np.arange(n_donors) & 1  # (2 ** n_donors, n_donors)
    blocks = np.array_split(np.arange(rank.shape[1]), max(1, rank.shape[1] // 1024))
    return np.concatenate([(flips @ rank[:, block] >= observed[block] - 1e-9).mean(axis=0) for block in blocks])


def _mean_per_donor(
    codes: sparse.csr_matrix, donor: np.ndarray, n_donors: int, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.flatnonzero(chosen)
    counts = np.bincount(donor[rows], minlength=n_donors)
    indicator = sparse.csr_matrix((np.ones(len(rows)), (donor[rows], rows)), shape=(n_donors, codes.shape[0]))
    summed = (indicator @ codes).toarray().astype(np.float64)
    means = np.divide(summed, counts[:, None], out=np.full(summed.shape, np.nan), where=counts[:, None] > 0)
    return means, counts
