"""Intervals of an AUROC by resampling samples or donors, never shorter than the class sizes allow."""

from __future__ import annotations

import numpy as np

from biosae.progress import Advance

from .auroc import SortedCodes

N_RESAMPLES = 200
MIN_GROUPS = 5  # too few donors to estimate how donors differ
NORMAL = 1.959964  # standard deviations either side that hold 95 %
N_HALVINGS = 30  # of the width in which an end is sought


def resample_weights(group: np.ndarray | None, n_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Number of draws of each sample in each resample, ``(n_samples, N_RESAMPLES) float64``.

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
    """Ends of the 95 % interval of each pair's AUROC, each ``(n_pairs,)``.

    The percentiles of the resamples, those without members or without non-members left out, or the ends of
    `score_interval` where these are wider: three members drawn again and again are still three. NaN where a
    side is empty.

    Parameters
    ----------
    member
        ``(n_samples, n_classes) bool``.
    features, classes
        ``(n_pairs,)`` the pairs.
    weights
        From `resample_weights`.
    """
    reached, low, high = np.full((3, len(features)), np.nan)
    weights = np.column_stack([np.ones(len(member)), weights])  # the samples themselves, then the resamples
    for c in np.unique(classes):
        inside = weights * member[:, [c]]
        outside = weights - inside
        for pair in np.flatnonzero(classes == c):
            reached[pair], *drawn = weighted_auroc(codes, features[pair], inside, outside)
            if not np.isnan(drawn).all():
                low[pair], high[pair] = np.nanpercentile(drawn, [2.5, 97.5])
            advance()
    n_inside = member.sum(axis=0)[classes]
    ends = score_interval(reached, n_inside, len(member) - n_inside)
    return np.fmin(low, ends[0]), np.fmax(high, ends[1])


def score_interval(auroc: np.ndarray, n_inside: np.ndarray, n_outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of an AUROC that its value and the class sizes alone give (Newcombe 2006, method 5).

    The values that lie within `NORMAL` of their own standard deviations, after Hanley and McNeil (1982) for two
    sides of the mean size. Holds for three members as for hundreds.
    """
    auroc, n_pairs = np.asarray(auroc, dtype=np.float64), np.maximum(n_inside * n_outside, 1)
    extra = (n_inside + n_outside) / 2 - 1
    ends = []
    for limit in (0.0, 1.0):
        within, beyond = auroc, np.full(auroc.shape, limit)
        for _ in range(N_HALVINGS):
            tried = (within + beyond) / 2
            spread = 1 + extra * ((1 - tried) / (2 - tried) + tried / (1 + tried))
            is_within = np.abs(tried - auroc) <= NORMAL * np.sqrt(tried * (1 - tried) * spread / n_pairs)
            within, beyond = np.where(is_within, tried, within), np.where(is_within, beyond, tried)
        ends.append(within)
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
