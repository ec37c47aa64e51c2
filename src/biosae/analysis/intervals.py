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
    for c in np.unique(classes):
        inside = weights * member[:, [c]]
        outside = weights - inside
        for pair in np.flatnonzero(classes == c):
            drawn = weighted_auroc(codes, features[pair], inside, outside)
            drawn = drawn[~np.isnan(drawn)]
            if len(drawn):
                ends[:, pair] = np.percentile(drawn, [2.5, 97.5])
            advance()
    return ends[0], ends[1]


def weighted_auroc(codes: SortedCodes, feature: int, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """AUROC of one feature for each of several weightings of the samples, ``(n_weightings,)``.

    Walks down the runs of equal codes: a member loses to the non-members above it, and half to those beside it.

    Parameters
    ----------
    inside, outside
        ``(n_samples, n_weightings)`` weights of the members and of the non-members; 0 for the others.
    """
    start, end = codes.offsets[feature : feature + 2]
    sample = codes.sample[start:end]
    hits, misses = inside[sample], outside[sample]
    last = codes.run_end[codes.run_offsets[feature] : codes.run_offsets[feature + 1]] - start
    if len(last) < len(sample):  # equal codes count together
        first = np.concatenate([[0], last[:-1] + 1])
        hits, misses = np.add.reduceat(hits, first), np.add.reduceat(misses, first)  # (n_runs, n_weightings)
    n_inside, n_outside = inside.sum(axis=0), outside.sum(axis=0)
    misses_above = np.cumsum(misses, axis=0) - misses
    silent_hits, silent_misses = n_inside - hits.sum(axis=0), n_outside - misses.sum(axis=0)
    lost = (hits * (misses_above + misses / 2)).sum(axis=0) + silent_hits * (n_outside - silent_misses / 2)
    n_pairs = n_inside * n_outside
    return 1 - np.divide(lost, n_pairs, out=np.full(len(n_pairs), np.nan), where=n_pairs > 0)
