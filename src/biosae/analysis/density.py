"""Firing density: the share of tokens and samples on which each feature is active."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from anndata import AnnData

RARE = 1e-5  # of tokens; the bounds that SAE density plots mark
DENSE = 0.1


BINS_PER_DECADE = 4


def density(blocks: Iterable[AnnData]) -> pd.DataFrame:
    """Firing of every feature over some samples; the columns of ``density`` in docs/formats.md.

    Parameters
    ----------
    blocks
        A feature table of samples with tokens, or several one after the other, so that memory holds one of them.
    """
    n_tokens, n_samples, largest = 0.0, 0, 0.0
    n_active = n_firing = summed = np.float64(0)
    for block in blocks:
        tokens = block.obs["biosae_n_tokens"].to_numpy(dtype=np.float64)
        n_tokens, n_samples = n_tokens + tokens.sum(), n_samples + block.n_obs
        n_active = n_active + np.rint(block.layers["fraction_active"].T.astype(np.float64) @ tokens)
        summed = summed + np.asarray(block.layers["sum"].sum(axis=0, dtype=np.float64)).ravel()
        n_firing = n_firing + np.bincount(block.X.indices, minlength=block.n_vars)
        largest = np.maximum(largest, block.X.max(axis=0).toarray().ravel())
    frequency_token = n_active / n_tokens
    fires = n_active > 0
    kinds = [~fires, frequency_token < RARE, frequency_token > DENSE]
    columns = {
        "frequency_token": frequency_token,
        "frequency_sample": n_firing / n_samples,
        "mean_active": np.divide(summed, n_active, out=np.full(len(fires), np.nan), where=fires),
        "max": np.where(fires, largest, np.nan),
        "kind": np.select(kinds, ["dead", "rare", "dense"], "normal"),
    }
    return pd.DataFrame(columns).rename_axis("feature")


def density_histogram(scores: pd.DataFrame) -> pd.DataFrame:
    """Count features by the share of tokens and of samples on which they fire, in logarithmic bins.

    Dead features are in no bin.

    Parameters
    ----------
    scores
        From `density`.

    Returns
    -------
    ``low``, ``high`` (share; a bin holds its lower end, the last one also 1), ``n_by_token``, ``n_by_sample``.
    """
    frequency = {name: scores[f"frequency_{name}"].to_numpy() for name in ("token", "sample")}
    alive = {name: values[values > 0] for name, values in frequency.items()}
    smallest = min((values.min() for values in alive.values() if len(values)), default=DENSE)
    n_bins = BINS_PER_DECADE * max(1, int(np.ceil(-np.log10(smallest))))
    edges = 10.0 ** (np.arange(-n_bins, 1) / BINS_PER_DECADE)
    edges[0] = min(edges[0], smallest)  # against rounding
    counts = {f"n_by_{name}": np.histogram(values, edges)[0] for name, values in alive.items()}
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], **counts})
