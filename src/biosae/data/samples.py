"""Samples of any kind: their names, annotations and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Samples:
    """Annotated cells or proteins.

    Attributes
    ----------
    obs
        One row per sample, with row numbers as index.
    name_blocks
        Returns the names of the samples in order, some thousand at a time; those of cells stay in their files.
    label_keys
        Columns of ``obs`` to score features against.
    batch_key
        Column of ``obs`` with the donor or batch, or None.
    obsm
        Arrays of the input with one row per sample.
    n_columns
        Genes of the input, for cells.
    """

    obs: pd.DataFrame
    name_blocks: Callable[[], Iterable[np.ndarray]]
    label_keys: list[str]
    batch_key: str | None = None
    obsm: dict[str, np.ndarray] = field(default_factory=dict)
    n_columns: int | None = None

    @property
    def names(self) -> np.ndarray:
        """``(n,) str`` names of all samples."""
        return np.concatenate(list(self.name_blocks()))

    def named_obs(self) -> pd.DataFrame:
        """``obs`` indexed by the names."""
        return self.obs.set_axis(pd.Index(self.names, name=self.obs.index.name), axis=0)
