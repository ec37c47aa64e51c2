"""Features over training: how near the direction of each was to its last one at the steps that were kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

SETTLED = 0.9
"""Cosine with its last direction from which a feature counts as the one that it ends as."""


def feature_history(decoders: Mapping[int, np.ndarray], last: np.ndarray) -> pd.DataFrame:
    """Return the cosine of every feature's direction with its last one, step by step.

    Parameters
    ----------
    decoders
        Step to ``(d_sae, d_in)`` decoder, rows are features.
    last
        The decoder at the end of training.

    Returns
    -------
    DataFrame
        One row per feature ``f0``, ...: ``settled_at``, the first kept step from which its cosine is at least
        `SETTLED` (missing if there is none), and ``step_<n>``, the cosine at each kept step.
    """
    steps = sorted(decoders)
    cosines = np.column_stack([_cosines(decoders[step], last) for step in steps])
    stays = np.logical_and.accumulate(cosines[:, ::-1] >= SETTLED, axis=1)[:, ::-1]
    settled = np.where(stays.any(1), np.asarray(steps)[stays.argmax(1)], -1)
    table = pd.DataFrame(cosines, columns=[f"step_{step}" for step in steps])
    table.insert(0, "settled_at", pd.array(settled, dtype="Int64"))
    table.loc[table["settled_at"] < 0, "settled_at"] = pd.NA
    return table.set_axis([f"f{n}" for n in range(len(table))], axis=0).rename_axis("feature")


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / np.where(norms > 0, norms, 1)
