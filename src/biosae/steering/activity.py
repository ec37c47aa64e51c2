"""How often each feature fires and how strongly, on the samples that steering may choose on."""

from __future__ import annotations

from dataclasses import dataclass

import anndata
import numpy as np

from biosae.errors import DataError

CHOOSING_PARTS = ("train", "select")
"""Parts whose samples decide what is edited and by how much; the effect is read on ``test``."""


@dataclass(frozen=True, eq=False)
class Activity:
    """Firing of every feature over the tokens of the choosing parts.

    Attributes
    ----------
    frequency
        ``(d_sae,)`` share of tokens where the feature is active.
    active_scale
        ``(d_sae,)`` mean code where it is active; NaN for a feature that never is.
    """

    frequency: np.ndarray
    active_scale: np.ndarray

    @property
    def alive(self) -> np.ndarray:
        """Features that fire at all."""
        return np.flatnonzero(self.frequency > 0)


def activity(table: anndata.AnnData) -> Activity:
    """Firing frequencies and active scales from a feature table."""
    rows = choosing_rows(table)
    n_tokens = table.obs["biosae_n_tokens"].to_numpy(dtype=np.float64)[rows]
    n_active = np.asarray(table.layers["fraction_active"][rows].T @ n_tokens)
    total = np.asarray(table.layers["sum"][rows].sum(axis=0, dtype=np.float64)).ravel()
    mean = np.divide(total, n_active, out=np.full(len(total), np.nan), where=n_active > 0)
    return Activity(n_active / n_tokens.sum(), mean)


def choosing_rows(table: anndata.AnnData) -> np.ndarray:
    """Rows of the samples with tokens in the choosing parts.

    Raises
    ------
    DataError
        If there are none.
    """
    return rows_of(table, CHOOSING_PARTS)


def rows_of(table: anndata.AnnData, parts: tuple[str, ...]) -> np.ndarray:
    """Rows of the samples with tokens in the given parts."""
    obs = table.obs
    rows = np.flatnonzero(obs["biosae_part"].astype(str).isin(parts) & (obs["biosae_n_tokens"] > 0))
    if len(rows) == 0:
        raise DataError(f"no sample of the parts {', '.join(parts)} has a token; use more samples")
    return rows
