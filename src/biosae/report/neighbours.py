"""Features whose decoder directions are most alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from .shards import packed

N_NEIGHBOURS = 10


def nearest_features(W_dec: np.ndarray, first: int, last: int) -> dict[str, Any]:
    """The features nearest by decoder cosine to each of ``first`` to ``last - 1``, nearest first."""
    n = min(N_NEIGHBOURS, len(W_dec) - 1)
    rows = np.arange(first, last)
    cosine = _unit(W_dec[first:last]) @ _unit(W_dec).T  # (block, d_sae)
    cosine[rows - first, rows] = -np.inf
    nearest = np.argpartition(-cosine, n - 1, axis=1)[:, :n]
    nearest = np.take_along_axis(nearest, np.argsort(-np.take_along_axis(cosine, nearest, 1), axis=1), 1)
    found = np.take_along_axis(cosine, nearest, 1)
    return {"n": n, "feature": packed(nearest, "u4"), "cosine": packed(found, "f4")}


def _unit(rows: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norm, np.finfo(rows.dtype).tiny)
