"""Correction for many tests."""

from __future__ import annotations

import numpy as np


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q-values of all p-values of one family, in the same shape (Benjamini and Hochberg 1995).

    Undefined p-values (NaN) are no tests: they stay NaN and do not count.
    """
    q = np.full(p.shape, np.nan)
    is_test = ~np.isnan(p)
    tested = p[is_test]
    order = np.argsort(tested)[::-1]
    n_tests = len(tested)
    stepped = np.minimum.accumulate(tested[order] * n_tests / np.arange(n_tests, 0, -1))
    corrected = np.empty(n_tests)
    corrected[order] = np.minimum(stepped, 1.0)
    q[is_test] = corrected
    return q
