"""How often features fire."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

RARE = 1e-5  # of tokens; the bounds that SAE density plots mark
DENSE = 0.1


def density(table: AnnData, rows: np.ndarray) -> pd.DataFrame:
    """Firing of every feature over the samples that have tokens; the columns of ``density`` in docs/formats.md.

    Parameters
    ----------
    table
        A feature table.
    rows
        Samples that have tokens.
    """
    frequency_token = table.var["frequency_token"].to_numpy(dtype=np.float64)
    n_tokens = table.obs["biosae_n_tokens"].to_numpy()[rows].sum()
    n_active = frequency_token * n_tokens
    summed = np.asarray(table.layers["sum"].sum(axis=0), dtype=np.float64).ravel()
    fires = frequency_token > 0
    kinds = [~fires, frequency_token < RARE, frequency_token > DENSE]
    columns = {
        "frequency_token": frequency_token,
        "frequency_sample": np.bincount(table.X[rows].indices, minlength=table.n_vars) / max(len(rows), 1),
        "mean_active": np.divide(summed, n_active, out=np.full(len(fires), np.nan), where=fires),
        "max": np.where(fires, table.var["max_code"].to_numpy(dtype=np.float64), np.nan),
        "kind": np.select(kinds, ["dead", "rare", "dense"], "normal"),
    }
    return pd.DataFrame(columns).rename_axis("feature")
