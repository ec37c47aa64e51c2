"""Label and batch columns among the annotations of cells."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from biosae.errors import DataError

BATCH_NAMES = ("donor", "donor_id", "patient", "individual", "batch", "sample", "sample_id", "library")
MAX_CLASSES = 100

Rows = np.ndarray | range
"""Row numbers, ascending; a range takes no memory."""


def find_label_keys(obs: pd.DataFrame, keys: list[str] | None) -> list[str]:
    """Return the given columns, or all that look like labels: text of 2 to 100 values, ten samples each on average."""
    if keys is not None:
        for key in keys:
            check_column(obs, key, "label_keys")
        return list(keys)
    return [key for key in obs if _is_label(obs[key])]


def find_batch_key(obs: pd.DataFrame, key: str | None) -> str | None:
    """Return the given column, or the first with a usual name that has at least two values."""
    if key is not None:
        check_column(obs, key, "batch_key")
        return key
    by_lower_name = {str(column).lower(): column for column in obs}
    found = [by_lower_name[name] for name in BATCH_NAMES if name in by_lower_name]
    return next((column for column in found if obs[column].nunique() > 1), None)


def check_column(obs: pd.DataFrame, key: str, argument: str) -> None:
    """Raise `DataError` about ``argument`` that names the columns that exist when ``key`` does not."""
    if key not in obs:
        known = ", ".join(map(str, obs.columns)) or "none"
        raise DataError(f"{argument.rpartition('.')[2]}: obs has no column {key}; it has {known}", argument)


def chosen_values(wanted: Any) -> list:
    """Return the values of a filter: one, or several in any sequence."""
    return [wanted] if isinstance(wanted, str | bool | int | float) else list(wanted)


def check_chosen(chosen: Mapping[str, list], known: Mapping[str, set]) -> None:
    """Raise `DataError` that names values that exist when one of a filter is not among the known ones of its column."""
    for column, values in chosen.items():
        unknown = [value for value in values if column in known and value not in known[column]]
        if unknown:
            names = sorted(map(str, known[column]))
            near = difflib.get_close_matches(str(unknown[0]), names, n=3, cutoff=0.5) or names[:10]
            message = f"filter: no cell has {unknown[0]} as {column}; there are such as {', '.join(near)}"
            raise DataError(message, argument="filter")


def rows_of(obs: pd.DataFrame, chosen: Mapping[str, list]) -> np.ndarray:
    """Return rows, ascending, that have one of the chosen values in each of the columns."""
    kept = np.ones(len(obs), dtype=bool)
    for column, values in chosen.items():
        check_column(obs, column, "filter")
        kept &= obs[column].isin(values).to_numpy()
    return np.flatnonzero(kept)


def _is_label(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object or column.dtype == bool:
        n_classes = column.nunique()
        return 2 <= n_classes <= min(MAX_CLASSES, max(2, len(column) // 10))
    return False
