"""Intervals of an AUROC by resampling whole samples, or whole donors where there are enough."""

from __future__ import annotations

import numpy as np

from biosae.progress import Advance

from .sorted_codes import SortedCodes

N_RESAMPLES = 200
MIN_GROUPS = 5  # fewer donors than this say nothing about how donors differ


def resample_weights(group: np.ndarray | None, n_samples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each sample is drawn in each resample, ``(n_samples, N_RESAMPLES) float64``.

    Groups are drawn whole when there are at least `MIN_GROUPS` of them, else single samples are.
    """
    unit = np.arange(n_samples)
    if group is not None and len(np.unique(group)) >= MIN_GROUPS:
        unit = np.unique(group, return_inverse=True)[1]
    n_units = unit.max() + 1
    drawn = generator.multinomial(n_units, np.full(n_units, 1 / n_units), size=N_RESAMPLES)
    return drawn.T[unit].astype(np.float64)


def auroc_intervals(
    codes: SortedCodes,
    member: np.ndarray,
    features: np.ndarray,
    classes: np.ndarray,
    weights: np.ndarray,
    advance: Advance,
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile interval of each pair's AUROC, each ``(n_pairs,)``.

    Resamples without members or without non-members are left out; NaN where none is left.

    Parameters
    ----------
    member
        ``(n_samples, n_classes) bool``.
    features, classes
        ``(n_pairs,)`` the pairs.
    weights
        From `resample_weights`.
    """
    ends = np.full((2, len(features)), np.nan)
    for pair, (feature, c) in enumerate(zip(features, classes, strict=True)):
        drawn = weighted_auroc(codes, feature, member[:, c], weights)
        drawn = drawn[~np.isnan(drawn)]
        if len(drawn):
            ends[:, pair] = np.percentile(drawn, [2.5, 97.5])
        advance()
    return ends[0], ends[1]


def weighted_auroc(codes: SortedCodes, feature: int, is_member: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of one feature for each column of sample weights, ``(n_resamples,)``.

    Walks down the runs of equal codes: a member loses to the non-members above it, and half to those beside it.
    """
    start, end = codes.offsets[feature : feature + 2]
    sample = codes.sample[start:end]
    on = weights[sample]
    hits, misses = on * is_member[sample][:, None], on * ~is_member[sample][:, None]
    if len(sample):
        last = codes.run_end[codes.run_offsets[feature] : codes.run_offsets[feature + 1]] - start
        first = np.concatenate([[0], last[:-1] + 1])
        hits, misses = np.add.reduceat(hits, first), np.add.reduceat(misses, first)  # (n_runs, n_resamples)
    n_members = is_member @ weights
    n_others = weights.sum(axis=0) - n_members
    misses_above = np.cumsum(misses, axis=0) - misses
    silent_hits, silent_misses = n_members - hits.sum(axis=0), n_others - misses.sum(axis=0)
    lost = (hits * (misses_above + misses / 2)).sum(axis=0) + silent_hits * (n_others - silent_misses / 2)
    n_pairs = n_members * n_others
    return 1 - np.divide(lost, n_pairs, out=np.full(len(n_pairs), np.nan), where=n_pairs > 0)
