"""Standard errors from random halves of the samples (the delete-half jackknife), and intervals from them.

Drawing samples with replacement would put every repeated sample among its own nearest neighbours and distort all
neighbour scores; halves repeat none. A score on m of n samples drawn without replacement varies around that of all
n in proportion to 1/m - 1/n, at m = n/2 the 1/n of the score of all samples (Shao and Wu 1989, Ann. Stat. 17:1176).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t


def random_halves(stratum: np.ndarray, n_halves: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Draw half of every stratum, several times; each half has the same composition, so that compiled scores fit all.

    Odd strata give their larger half (two of three). Returns sorted places of the samples of each half.
    """
    members = [np.flatnonzero(stratum == name) for name in np.unique(stratum)]
    return [
        np.sort(np.concatenate([generator.choice(rows, (len(rows) + 1) // 2, replace=False) for rows in members]))
        for _ in range(n_halves)
    ]


def interval(
    estimate: np.ndarray, over_halves: np.ndarray, share: float, over_seeds: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % intervals of several scores, each ``(n_metrics,)``; NaN without halves.

    The variance over samples and, for an edit drawn with several seeds, the variance of the mean over seeds add up;
    degrees of freedom after Welch and Satterthwaite.

    Parameters
    ----------
    estimate
        ``(n_metrics,)`` on all samples, mean over seeds.
    over_halves
        ``(n_halves, n_metrics)`` the same on halves of the samples.
    share
        Share of the samples in a half; a little above 0.5 with odd strata, which is corrected for.
    over_seeds
        ``(n_seeds, n_metrics)`` on all samples; None or one row when nothing was drawn.
    """
    if len(over_halves) < 2:
        return np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    parts = [(over_halves.var(axis=0, ddof=1) * share / (1 - share), len(over_halves) - 1)]
    if over_seeds is not None and len(over_seeds) > 1:
        parts.append((over_seeds.var(axis=0, ddof=1) / len(over_seeds), len(over_seeds) - 1))
    variance = sum(part for part, _ in parts)
    weight = sum(np.square(part) / freedom for part, freedom in parts)
    freedom = np.divide(np.square(variance), weight, out=np.full_like(estimate, np.inf), where=weight > 0)
    half_width = t.ppf(0.975, freedom) * np.sqrt(variance)
    return estimate - half_width, estimate + half_width
