"""Random numbers that depend only on a seed, a cell, a gene and a purpose."""

from __future__ import annotations

import numpy as np
import pandas as pd

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def cell_keys(names: pd.Index) -> np.ndarray:
    """Return a hash of each cell's name, ``(n_cells,) uint64``."""
    return pd.util.hash_array(names.to_numpy(object).astype(str).astype(object), categorize=False)


def keyed_uniform(seed: int, purpose: int, cell: np.ndarray, token: np.ndarray) -> np.ndarray:
    """Return uniform numbers in [0, 1), one for each pair of a cell key and a token; each purpose has its own.

    The same gene of the same cell gets the same number whatever the order or number of cells and
    genes, so that neither batches nor subsets change what a model reads. SplitMix64 (Steele et al.
    2014).
    """
    with np.errstate(over="ignore"):
        state = _mixed(np.asarray(cell, np.uint64) + _mixed(np.uint64(2 * seed + purpose) * GOLDEN))
        state = _mixed(state + np.asarray(token).astype(np.uint64) * GOLDEN)
    return (state >> np.uint64(11)) * 2.0**-53


def _mixed(x: np.ndarray) -> np.ndarray:
    x = x + GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
