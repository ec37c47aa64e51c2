"""Adjusted mutual information between "the feature is on" and "the sample is a member"."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, xlogy

PAIRS_PER_BLOCK = 4096  # bounds the (pairs, support) table of the expectation


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
    cells = (
        _information(hits, above, members, n)
        + _information(above - hits, above, n - members, n)
        + _information(members - hits, n - above, members, n)
        + _information(n - above - members + hits, n - above, n - members, n)
    )
    expected = expected_mutual_information(above, members, n)
    gap = (_entropy(above, n) + _entropy(members, n)) / 2 - expected
    is_one_to_one = gap < 1e-12  # whatever is drawn with these margins
    return np.where(is_one_to_one, 1.0, (cells - expected) / np.where(is_one_to_one, 1, gap))


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
    information = (
        _information(hits, a, b, n)
        + _information(a - hits, a, n - b, n)
        + _information(b - hits, n - a, b, n)
        + _information(n - a - b + hits, n - a, n - b, n)
    )
    return np.bincount(pair, np.exp(log_chance) * information, minlength=len(above))


def _information(count: np.ndarray, row: np.ndarray, column: np.ndarray, n: int) -> np.ndarray:
    """A table cell's share of the mutual information, nats; 0 for an empty cell."""
    expected = np.where(count > 0, row * column / n, 1)
    return xlogy(count, np.where(count > 0, count, 1) / expected) / n


def _entropy(count: np.ndarray, n: int) -> np.ndarray:
    share = count / n
    return -xlogy(share, share) - xlogy(1 - share, 1 - share)


def _log_choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
    return gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(n - k + 1)
