"""Features whose decoder directions are most alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from .shards import packed

N_NEIGHBOURS = 10


def unit_rows(W_dec: np.ndarray) -> np.ndarray:
    """The rows with norm 1; a row of zeros stays one."""
    norm = np.linalg.norm(W_dec, axis=1, keepdims=True)
    return W_dec / np.maximum(norm, np.finfo(W_dec.dtype).tiny)


def nearest_features(directions: np.ndarray, first: int, last: int) -> dict[str, Any]:
    """The features nearest by decoder cosine to each of ``first`` to ``last - 1``, nearest first.

    Parameters
    ----------
    directions
        ``(d_sae, d_in)`` unit rows.
    """
    n = min(N_NEIGHBOURS, len(directions) - 1)
    rows = np.arange(first, last)
    cosine = directions[first:last] @ directions.T  # (block, d_sae)
    cosine[rows - first, rows] = -np.inf
    nearest = np.argpartition(-cosine, n - 1, axis=1)[:, :n]
    nearest = np.take_along_axis(nearest, np.argsort(-np.take_along_axis(cosine, nearest, 1), axis=1), 1)
    found = np.take_along_axis(cosine, nearest, 1)
    return {"n": n, "feature": packed(nearest, "u4"), "cosine": packed(found, "f4")}
