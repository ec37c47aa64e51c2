"""What is known of samples of any kind: their names, annotations and labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Samples:
    """Annotated cells or proteins.

    Attributes
    ----------
    obs
        One row a sample, indexed by its name.
    label_keys
        Columns of ``obs`` to score features against.
    batch_key
        Column of ``obs`` with the donor or batch, or None.
    obsm
        Arrays with one row a sample that the input brought along.
    n_columns
        Genes of the input, for cells.
    """

    obs: pd.DataFrame
    label_keys: list[str]
    batch_key: str | None = None
    obsm: dict[str, np.ndarray] = field(default_factory=dict)
    n_columns: int | None = None
