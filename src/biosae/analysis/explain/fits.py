"""Straight lines from one variable to the code of one feature, for many pairs at once, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Lines:
    """One least-squares line per column.

    Attributes
    ----------
    slope, intercept
        ``(m,) float64``.
    left_out
        ``(n, m) float32`` squared error of each sample under the line fitted to all others.
    """

    slope: np.ndarray
    intercept: np.ndarray
    left_out: np.ndarray

    def squared_error(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``(m,)`` mean squared error on other samples."""
        return np.mean((y - self.predict(x)) ** 2, axis=0, dtype=np.float64)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """``(n, m) float32`` values on the lines."""
        return (self.intercept + self.slope * x).astype(np.float32)


def fit_lines(x: np.ndarray, y: np.ndarray) -> Lines:
    """Fit ``y = intercept + slope x`` column by column.

    Leaving a sample out of a least-squares fit multiplies its residual by ``1 / (1 - h)``, with its leverage ``h``
    (Cook 1977), so that no line is fitted twice. A constant ``x`` gives the mean of ``y``.

    Parameters
    ----------
    x, y
        ``(n, m)`` of at least three samples.
    """
    n = len(y)
    x_mean, y_mean = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    dx = x - x_mean
    variation = np.einsum("nm,nm->m", dx, dx)
    varies = variation > 1e-10 * n * (1e-12 + x_mean**2 + variation / n)
    slope = np.where(varies, np.einsum("nm,nm->m", dx, y - y_mean) / np.where(varies, variation, 1), 0.0)
    leverage = 1 / n + np.where(varies, dx**2 / np.where(varies, variation, 1), 0)
    residual = (y - y_mean) - slope * dx
    left_out = (residual / np.maximum(1 - leverage, 1e-6)) ** 2
    return Lines(slope, y_mean - slope * x_mean, left_out.astype(np.float32))
