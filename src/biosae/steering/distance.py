"""How much of the way from control to treated an edit goes, and what it costs the cells' types."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

MAX_PAIRS_FROM = 2000  # samples of each side that energy distances are computed on


def distance_closed(
    control: np.ndarray, edited: np.ndarray, treated: np.ndarray, weights: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float, float]:
    """``1 - ||mean(edited) - mean(treated)|| / ||mean(control) - mean(treated)||`` and its 95 % bootstrap interval.

    1 is all the way, 0 nowhere, negative further away.

    Parameters
    ----------
    control, edited, treated
        ``(n, d)``, ``(n, d)`` and ``(m, d)`` embeddings.
    weights
        ``(n, n_resamples)`` and ``(m, n_resamples)`` how often each resample draws each sample.
    """
    own, others = weights
    usable = (own.sum(axis=0) > 0) & (others.sum(axis=0) > 0)
    own, others = own[:, usable], others[:, usable]
    before, after, there = (_means(e, w) for e, w in ((control, own), (edited, own), (treated, others)))
    drawn = 1 - np.linalg.norm(after - there, axis=1) / np.linalg.norm(before - there, axis=1)
    goal = treated.mean(axis=0)
    estimate = 1 - np.linalg.norm(edited.mean(axis=0) - goal) / np.linalg.norm(control.mean(axis=0) - goal)
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return float(estimate), float(low), float(high)


def energy_distance(first: np.ndarray, second: np.ndarray) -> float:
    """``2 E||x - y|| - E||x - x'|| - E||y - y'||`` over pairs of different samples (Szekely and Rizzo 2013)."""
    between = cdist(first, second).mean()
    within = [cdist(side, side).sum() / (len(side) * (len(side) - 1)) for side in (first, second)]
    return float(2 * between - sum(within))


def energy_closed(control: np.ndarray, edited: np.ndarray, treated: np.ndarray) -> float:
    """``1 - E(edited, treated) / E(control, treated)`` for energy distances: of distributions, not of means."""
    generator = np.random.default_rng(0)
    rows, others = (_some(len(side), generator) for side in (control, treated))
    goal = treated[others]
    return 1 - energy_distance(edited[rows], goal) / energy_distance(control[rows], goal)


def _means(embedding: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``(n_resamples, d)``."""
    return (weights.T @ embedding) / weights.sum(axis=0)[:, None]


def _some(n: int, generator: np.random.Generator) -> np.ndarray:
    if n <= MAX_PAIRS_FROM:
        return np.arange(n)
    return np.sort(generator.choice(n, MAX_PAIRS_FROM, replace=False))
