"""A column of the samples that features are scored against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """What the column says of each sample, and which samples choose, report, and are shuffled with which.

    Attributes
    ----------
    values
        Classes or numbers under the name of the column; samples where they are missing are left out.
    part
        ``(n_samples,)`` part of the split; samples of other parts than select and test are not used.
    group
        Donor or batch of each sample, under its name: values are shuffled within it. None where they are shuffled
        freely.
    """

    values: pd.Series
    part: np.ndarray
    group: pd.Series | None = None

    @property
    def name(self) -> str:
        return str(self.values.name)

    @property
    def groups(self) -> np.ndarray:
        """``(n_samples,)`` what values are shuffled within; the same for all where that is done freely."""
        return np.zeros(len(self.part), dtype=int) if self.group is None else self.group.to_numpy()
