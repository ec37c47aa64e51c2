"""Codes cut at a threshold: average precision, and F1 at the threshold that was best elsewhere."""

from __future__ import annotations

import numpy as np

from .sorted_codes import SortedCodes


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
    """The code at or above which calling a sample a member gives the largest F1.

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
