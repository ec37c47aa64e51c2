"""Pearson correlations of many features with many variables over the same samples, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from biosae.progress import Advance, unseen

FEATURES_PER_BLOCK, VARIABLES_PER_BLOCK = 1024, 1024  # columns that are dense for a moment
PAIRS_PER_BLOCK = 2048


def standardised(values: np.ndarray, group: np.ndarray | None = None) -> np.ndarray:
    """Columns with mean 0 and length 1, so that the product of two is their correlation; constant ones become 0.

    Parameters
    ----------
    values
        ``(n, m)`` float32.
    group
        ``(n,)`` numbers from 0: means are taken out within each group, which leaves the correlation within groups.
    """
    if group is None:
        centred = values - values.mean(axis=0)
    else:
        size = np.bincount(group)
        member = sparse.csr_matrix((np.ones(len(group), np.float32), (group, np.arange(len(group)))))
        centred = values - (member @ values / np.maximum(size, 1)[:, None])[group]
    length = np.sqrt(np.einsum("nm,nm->m", centred, centred, dtype=np.float64))
    is_constant = length <= 1e-5 * np.sqrt(np.einsum("nm,nm->m", values, values, dtype=np.float64)) + 1e-30
    return np.where(is_constant, 0, centred / np.where(is_constant, 1, length)).astype(np.float32)


def correlation_blocks(
    codes: sparse.csc_matrix, variables: sparse.csc_matrix, group: np.ndarray | None = None
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Features, variables and their correlations, ``(n_features, n_variables) float32``, block by block.

    Parameters
    ----------
    codes, variables
        ``(n, n_features)`` and ``(n, n_variables)`` of the same samples.
    group
        As in `standardised`.
    """
    for features, columns, own, others in _standardised_blocks(codes, variables, group):
        yield features, columns, own @ others.T


def most_correlated(
    codes: sparse.csc_matrix, variables: sparse.csc_matrix, n: int, advance: Advance = unseen
) -> np.ndarray:
    """``(n_features, n)`` the variables with the largest correlation with each feature, largest first; -1 for none.

    A variable without a positive correlation is none.
    """
    best = np.full((codes.shape[1], n), -1)
    reached = np.zeros((codes.shape[1], n), dtype=np.float32)
    for features, columns, r in correlation_blocks(codes, variables):
        among = np.concatenate([reached[features], r], axis=1)
        numbers = np.concatenate([best[features], np.broadcast_to(np.arange(columns.start, columns.stop), r.shape)], 1)
        order = (
            np.argpartition(-among, n - 1, axis=1)[:, :n]
            if among.shape[1] > n
            else np.arange(n)[None].repeat(len(among), 0)
        )
        order = np.take_along_axis(order, np.argsort(-np.take_along_axis(among, order, 1), axis=1, kind="stable"), 1)
        reached[features] = np.take_along_axis(among, order, 1)
        best[features] = np.where(reached[features] > 0, np.take_along_axis(numbers, order, 1), -1)
        advance(r.size)
    return best


def correlations_of_pairs(
    codes: sparse.csc_matrix, variables: sparse.csc_matrix, pairs: np.ndarray, group: np.ndarray | None = None
) -> np.ndarray:
    """``(n_features, n)`` the correlation of each feature with its variables, NaN for variable -1.

    Parameters
    ----------
    pairs
        ``(n_features, n)`` from `most_correlated`.
    """
    used = np.unique(pairs[pairs >= 0])
    place, found = np.searchsorted(used, pairs), np.full(pairs.shape, np.nan)
    for features, columns, own, others in _standardised_blocks(codes, variables[:, used], group):
        here = place[features]
        row, slot = np.nonzero((pairs[features] >= 0) & (here >= columns.start) & (here < columns.stop))
        for few in _blocks(len(row), PAIRS_PER_BLOCK):
            beside = here[row[few], slot[few]] - columns.start
            # Not entries of a product, whose last digits depend on how many threads made it.
            r = np.einsum("pn,pn->p", own[row[few]], others[beside], dtype=np.float64)
            found[features.start + row[few], slot[few]] = r
    return found


def _standardised_blocks(
    codes: sparse.csc_matrix, variables: sparse.csc_matrix, group: np.ndarray | None
) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray]]:
    """Features, variables, and `standardised` rows of both."""
    for features in _blocks(codes.shape[1], FEATURES_PER_BLOCK):
        own = np.ascontiguousarray(standardised(_dense(codes, features), group).T)
        for columns in _blocks(variables.shape[1], VARIABLES_PER_BLOCK):
            yield features, columns, own, np.ascontiguousarray(standardised(_dense(variables, columns), group).T)


def _blocks(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _dense(matrix: sparse.csc_matrix, columns: slice) -> np.ndarray:
    return matrix[:, columns].toarray().astype(np.float32, copy=False)
