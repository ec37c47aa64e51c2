"""Scores of codes cut at a threshold: average precision, F1, adjusted mutual information."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, xlogy

from .auroc import SortedCodes

PAIRS_PER_BLOCK = 4096  # bounds the (pairs, support) table of the expectation


def average_precision(codes: SortedCodes, member: np.ndarray) -> np.ndarray:
    """Average precision of every feature and class, ``(n_features, n_classes)``, as scikit-learn defines it.

    The sum over thresholds of the recall gained times the precision there; the silent samples come
    last, together. Codes must be non-negative. NaN for a class without members.

    Parameters
    ----------
    member
        ``(n_samples, n_classes) bool``.
    """
    return np.column_stack([_average_precision(codes, is_member) for is_member in member.T])


def best_thresholds(codes: SortedCodes, member: np.ndarray) -> np.ndarray:
    """Thresholds with the largest F1, where a code at or above calls a sample a member.

    ``(n_features, n_classes)``; the highest of equally good thresholds; NaN for a feature that never fires.
    """
    return np.column_stack([_best_threshold(codes, is_member) for is_member in member.T])


def counts_above(codes: SortedCodes, member: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples, and members among them, whose code is at or above a threshold above 0.

    Parameters
    ----------
    thresholds
        ``(n_features, n_classes)``; nothing is above NaN.

    Returns
    -------
    n_above, n_hits
        ``(n_features, n_classes) int64``.
    """
    above = [codes.code >= column[codes.feature] for column in thresholds.T]
    hits = [chosen & is_member[codes.sample] for chosen, is_member in zip(above, member.T, strict=True)]
    return _count(codes, above), _count(codes, hits)


def f1(n_above: np.ndarray, n_hits: np.ndarray, n_members: np.ndarray) -> np.ndarray:
    """F1 = 2 hits / (called + members); 0 where nothing is called."""
    return 2 * n_hits / np.maximum(n_above + n_members, 1)


def _average_precision(codes: SortedCodes, is_member: np.ndarray) -> np.ndarray:
    n_members = is_member.sum()
    if n_members == 0:
        return np.full(codes.n_features, np.nan)
    feature, hits = codes.feature[codes.run_end], codes.hits_per_run(is_member)
    is_first = codes.position[codes.run_end] + 1 == _run_lengths(codes)
    gained = hits - np.where(is_first, 0, np.concatenate([[0], hits[:-1]])[: len(hits)])
    precision = hits / (codes.position[codes.run_end] + 1)
    found = np.bincount(feature, gained, minlength=codes.n_features)
    summed = np.bincount(feature, gained * precision, minlength=codes.n_features)
    base_rate = n_members / codes.n_samples
    return (summed + (n_members - found) * base_rate) / n_members


def _best_threshold(codes: SortedCodes, is_member: np.ndarray) -> np.ndarray:
    n_called = codes.position[codes.run_end] + 1
    quality = f1(n_called, codes.hits_per_run(is_member), is_member.sum())
    thresholds = np.full(codes.n_features, np.nan)
    fires = np.diff(codes.run_offsets) > 0
    if fires.any():
        best = np.zeros(codes.n_features)
        best[fires] = np.maximum.reduceat(quality, codes.run_offsets[:-1][fires])
        feature = codes.feature[codes.run_end]
        candidates = np.flatnonzero(quality == best[feature])
        with_best, first = np.unique(feature[candidates], return_index=True)
        thresholds[with_best] = codes.code[codes.run_end[candidates[first]]]
    return thresholds


def _run_lengths(codes: SortedCodes) -> np.ndarray:
    return np.diff(codes.run_end, prepend=-1)


def _count(codes: SortedCodes, chosen: list[np.ndarray]) -> np.ndarray:
    return np.column_stack([np.bincount(codes.feature[c], minlength=codes.n_features) for c in chosen])


def adjusted_mutual_information(n_hits: np.ndarray, n_above: np.ndarray, n_members: np.ndarray, n: int) -> np.ndarray:
    """AMI of 2 x 2 tables, normalised by the mean entropy (Vinh, Epps and Bailey 2010), in the shape of the input.

    0 where one side is constant; 1 where no table with these margins could agree less, as when both are.

    Parameters
    ----------
    n_hits, n_above, n_members
        Samples that are on and members, that are on, that are members; broadcast together.
    n
        Number of samples.
    """
    hits, above, members = np.broadcast_arrays(n_hits, n_above, n_members)
    information = _mutual_information(hits, above, members, n)
    expected = expected_mutual_information(above, members, n)
    gap = (_entropy(above, n) + _entropy(members, n)) / 2 - expected
    is_one_to_one = gap < 1e-12  # whatever is drawn with these margins
    return np.where(is_one_to_one, 1.0, (information - expected) / np.where(is_one_to_one, 1, gap))


def expected_mutual_information(above: np.ndarray, members: np.ndarray, n: int) -> np.ndarray:
    """Mean mutual information (nats) of 2 x 2 tables with these margins, over all ways to draw them.

    The number of hits is hypergeometric; each distinct pair of margins is summed once.
    """
    pairs, inverse = np.unique(np.stack([above.ravel(), members.ravel()]), axis=1, return_inverse=True)
    expected = np.empty(pairs.shape[1])
    for start in range(0, len(expected), PAIRS_PER_BLOCK):
        block = slice(start, start + PAIRS_PER_BLOCK)
        expected[block] = _expected_of_pairs(*pairs[:, block], n)
    return expected[inverse].reshape(above.shape)


def _expected_of_pairs(above: np.ndarray, members: np.ndarray, n: int) -> np.ndarray:
    low = np.maximum(above + members - n, 0)
    n_values = np.minimum(above, members) - low + 1
    pair = np.repeat(np.arange(len(above)), n_values)
    hits = np.arange(len(pair)) - np.repeat(np.cumsum(n_values) - n_values, n_values) + low[pair]
    a, b = above[pair], members[pair]
    log_chance = _log_choose(b, hits) + _log_choose(n - b, a - hits) - _log_choose(n, a)
    information = _mutual_information(hits, a, b, n)
    return np.bincount(pair, np.exp(log_chance) * information, minlength=len(above))


def _mutual_information(hits: np.ndarray, above: np.ndarray, members: np.ndarray, n: int) -> np.ndarray:
    """Mutual information (nats) of 2 x 2 tables: the sum over their four cells."""
    return (
        _information(hits, above, members, n)
        + _information(above - hits, above, n - members, n)
        + _information(members - hits, n - above, members, n)
        + _information(n - above - members + hits, n - above, n - members, n)
    )


def _information(count: np.ndarray, row: np.ndarray, column: np.ndarray, n: int) -> np.ndarray:
    """A table cell's share of the mutual information, nats; 0 for an empty cell."""
    expected = np.where(count > 0, row * column / n, 1)
    return xlogy(count, np.where(count > 0, count, 1) / expected) / n


def _entropy(count: np.ndarray, n: int) -> np.ndarray:
    share = count / n
    return -xlogy(share, share) - xlogy(1 - share, 1 - share)


def _log_choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
    return gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(n - k + 1)
