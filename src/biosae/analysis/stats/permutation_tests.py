"""Nulls of the AUROC from labels shuffled within groups, and the correction for many tests.

Shuffling within donors (or batches) keeps what belongs to the donor, so that a feature of a donor is
not taken for a feature of the cell types that the donor happens to have.

Cost: one product of the midranks with all shuffled labels, ``n_samples x n_features x n_classes x
n_permutations`` multiply-adds in float32, in blocks of bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from biosae.progress import Advance

from .auroc import Midranks, auroc_of_rank_sums

N_POOLS, MIN_POOL = 16, 64  # features of like activity share their null
LABELS_PER_BLOCK = 1 << 21  # entries of a block of shuffled labels
RANK_SUMS_PER_BLOCK = 1 << 23
RANKS_PER_BLOCK = 1 << 26  # entries of the ranks that are dense for a moment
SIGNIFICANT_Q = 0.05
TIE = 1e-3  # in standard deviations: float32 rank sums that differ by less count as equal


@dataclass(frozen=True)
class ShuffledNull:
    """The null of every feature and class.

    Attributes
    ----------
    largest_auroc
        ``(n_permutations, n_classes)`` the best AUROC that any feature reached for the class; NaN for a class that
        every group has whole or not at all, because shuffling within groups changes nothing then.
    p_single
        ``(n_features, n_classes)`` chance of a standardised rank sum as large as this pair's, among
        those of the features active on about as many samples, under all permutations: under the null
        the sum depends on the feature through little else, and sharing resolves p-values far below
        one over the number of permutations (Tusher, Tibshirani and Chu 2001 share over all). NaN
        where chance could not have changed the rank sum.
    p_by_chance
        The same for memberships that were shuffled once more: what a search finds when there is nothing.
    """

    largest_auroc: np.ndarray
    p_single: np.ndarray
    p_by_chance: np.ndarray

    def p_best(self, observed: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Chance that the best of all features reaches the ``(n,)`` observed AUROC for the class beside it, or NaN."""
        p = np.empty(len(observed))
        for c in np.unique(classes):
            chosen = classes == c
            null = np.sort(self.largest_auroc[:, c])
            n_at_least = len(null) - np.searchsorted(null, observed[chosen] - 1e-6)  # float32 ties count
            p[chosen] = (1 + n_at_least) / (1 + len(null)) if np.isfinite(null).all() else np.nan
        return p

    def expected_best(self) -> np.ndarray:
        """``(n_classes,)`` 95th percentile of the best AUROC by chance."""
        return np.percentile(self.largest_auroc, 95, axis=0)


def shuffled_null(
    ranked: Midranks,
    member: np.ndarray,
    group: np.ndarray,
    n_permutations: int,
    generator: np.random.Generator,
    advance: Advance,
) -> ShuffledNull:
    """Shuffles the class memberships of samples within their groups, all classes together.

    Parameters
    ----------
    member
        ``(n_samples, n_classes) bool``.
    group
        ``(n_samples,)`` donor or batch of each sample; one value for all when there is none.
    advance
        Called with the number of finished permutations.
    """
    mean, deviation = rank_sum_moments(ranked, member, group)
    once_more = member[shuffled_rows(group, 1, generator.spawn(1)[0])[0]]
    observed, by_chance = (_standardised(ranked, each, mean, deviation) for each in (member, once_more))
    pools = pools_of_like_activity(ranked)
    tallies = [Tally(np.concatenate([observed[features], by_chance[features]])) for features in pools]
    by_feature = ranked.above_zero.T.tocsr()
    # A dense block of midranks times a block of shuffled memberships gives the rank sums of many permutations at once.
    largest = np.full((n_permutations, member.shape[1]), -np.inf)
    for first, shuffled in _shuffled_blocks(member, group, n_permutations, len(pools[-1]), generator):
        n_block = shuffled.shape[1]
        best = largest[first : first + n_block]
        for features, tally in _in_blocks(pools, tallies, len(member)):
            scores = by_feature[features].toarray().astype(np.float32)
            sums = (scores @ shuffled.reshape(len(member), -1)).reshape(len(features), n_block, -1)
            sums = sums.swapaxes(0, 1)  # (n_block, features, n_classes)
            reached = auroc_of_rank_sums(sums, ranked.of_zero[features], member).max(axis=1)
            np.maximum(best, reached, out=best)
            tally.add(sums, mean[features], deviation[features])
            advance(n_block * len(features) / len(observed))
    largest[:, ~(deviation > 0).any(axis=0)] = np.nan
    p_single, p_by_chance = np.empty_like(observed), np.empty_like(observed)
    for features, tally in zip(pools, tallies, strict=True):
        p_single[features], p_by_chance[features] = np.split(tally.p_values(), 2)
    return ShuffledNull(largest, p_single, p_by_chance)


def _standardised(ranked: Midranks, member: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """``(n_features, n_classes)`` rank sums in standard deviations from their mean; NaN where there is no deviation."""
    distance = ranked.above_zero.T @ member.astype(np.float64) - mean
    return np.divide(distance, deviation, out=np.full(mean.shape, np.nan), where=deviation > 0)


def pools_of_like_activity(ranked: Midranks) -> list[np.ndarray]:
    """Features in the order of the number of samples that they are active on, cut into `N_POOLS` or fewer."""
    order = np.argsort(np.diff(ranked.above_zero.indptr), kind="stable")
    return np.array_split(order, np.clip(len(order) // MIN_POOL, 1, N_POOLS))


def _in_blocks(pools: list[np.ndarray], tallies: list[Tally], n_samples: int) -> Iterator[tuple[np.ndarray, Tally]]:
    """Runs of features of one pool, of `RANKS_PER_BLOCK` ranks at most, with the tally of the pool."""
    n_features = max(1, RANKS_PER_BLOCK // n_samples)
    for pool, tally in zip(pools, tallies, strict=True):
        for first in range(0, len(pool), n_features):
            yield pool[first : first + n_features], tally


def rank_sum_moments(ranked: Midranks, values: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, over all shuffles within groups, of the ranks above zero summed by value.

    Both ``(n_features, n)``: for each group those of a sum drawn without replacement.

    Parameters
    ----------
    values
        ``(n_samples, n)`` memberships, which sum the members' ranks, or numbers, which weigh the ranks.
    """
    values = values.astype(np.float64)
    mean = np.zeros((len(ranked.of_zero), values.shape[1]))
    variance = np.zeros_like(mean)
    by_sample = ranked.above_zero.tocsr()
    for name in np.unique(group):
        rows = np.flatnonzero(group == name)
        scores, n = by_sample[rows], len(rows)
        average, average_value = np.asarray(scores.mean(axis=0)).ravel(), values[rows].mean(axis=0)
        spread = np.asarray(scores.multiply(scores).sum(axis=0)).ravel() - n * average**2
        mean += n * average[:, None] * average_value
        variance += spread[:, None] * ((values[rows] - average_value) ** 2).sum(axis=0) / max(n - 1, 1)
    is_rounding = variance <= 1e-9 * np.maximum(mean**2, 1)
    return mean, np.sqrt(np.where(is_rounding, 0, variance))


def shuffled_rows(group: np.ndarray, n_permutations: int, generator: np.random.Generator) -> np.ndarray:
    """``(n_permutations, n_samples)`` rows in a random order that keeps every sample in its group."""
    number = np.unique(group, return_inverse=True)[1]
    in_order = np.argsort(number, kind="stable")
    # Sorting by group and then at random: the whole part of the key is the group.
    drawn = np.argsort(number + generator.random((n_permutations, len(group))), axis=1)
    rows = np.empty_like(drawn)
    rows[:, in_order] = drawn
    return rows


def _shuffled_blocks(
    member: np.ndarray, group: np.ndarray, n_permutations: int, pool_size: int, generator: np.random.Generator
) -> Iterator[tuple[int, np.ndarray]]:
    """First permutation and memberships ``(n_samples, n_block, n_classes) float32`` of each block."""
    n_classes = member.shape[1]
    n_block = max(1, min(LABELS_PER_BLOCK // member.size, RANK_SUMS_PER_BLOCK // (pool_size * n_classes)))
    labels = member.astype(np.float32)
    for first in range(0, n_permutations, n_block):
        rows = shuffled_rows(group, min(n_block, n_permutations - first), generator)
        yield first, labels[rows.T]


class Tally:
    """Count, for every observed statistic, how many of its class's null statistics are at least as large.

    The observed ones are sorted once. Each null value then adds one at its place among them, and a cumulative sum of
    these counts gives all p-values: nothing grows with the number of permutations.

    Parameters
    ----------
    observed
        ``(n_features, n_classes)`` standardised rank sums; NaN where undefined.
    """

    def __init__(self, observed: np.ndarray):
        self._observed = observed
        self._ascending = [np.sort(column[~np.isnan(column)]) for column in observed.T]
        self._n_reaching = [np.zeros(len(known) + 1, dtype=np.int64) for known in self._ascending]

    def add(self, sums: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Null rank sums ``(n_block, features, n_classes)`` with their moments ``(features, n_classes)``."""
        for c, known in enumerate(self._ascending):
            defined = deviation[:, c] > 0
            null = (sums[:, defined, c] - mean[defined, c]) / deviation[defined, c]
            n_reached = np.searchsorted(known, null.ravel() + TIE, side="right")
            self._n_reaching[c] += np.bincount(n_reached, minlength=len(known) + 1)

    def p_values(self) -> np.ndarray:
        p = np.full(self._observed.shape, np.nan)
        for c, (known, n_reaching) in enumerate(zip(self._ascending, self._n_reaching, strict=True)):
            column = self._observed[:, c]
            defined = ~np.isnan(column)
            rank = np.searchsorted(known, column[defined])
            n_at_least = n_reaching[::-1].cumsum()[::-1]  # null values that reach the k smallest observed
            p[defined, c] = (1 + n_at_least[rank + 1]) / (1 + n_reaching.sum())
        return p


def benjamini_hochberg(p: np.ndarray, n_tests: int | None = None) -> np.ndarray:
    """q-values of all p-values of one family, in the same shape (Benjamini and Hochberg 1995).

    Parameters
    ----------
    p
        Undefined p-values (NaN) are not tests: they stay NaN and do not count.
    n_tests
        Size of the family when it holds further tests, all with p = 1; the number of p-values without it.
    """
    q = np.full(p.shape, np.nan)
    is_test = ~np.isnan(p)
    tested = p[is_test]
    order = np.argsort(tested)[::-1]
    scaled = tested[order] * (n_tests or len(tested)) / np.arange(len(tested), 0, -1)
    corrected = np.empty(len(tested))
    corrected[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    q[is_test] = corrected
    return q
