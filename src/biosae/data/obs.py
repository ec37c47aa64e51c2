"""Finding label and batch columns among the annotations of cells."""

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
    """The given columns, or all that look like labels: text with 2 to 100 values, each seen ten times on average."""
    if keys is not None:
        for key in keys:
            check_column(obs, key, "data.label_keys")
        return list(keys)
    return [key for key in obs if _is_label(obs[key])]


def find_batch_key(obs: pd.DataFrame, key: str | None) -> str | None:
    """The given column, or the first with a usual name that has at least two values."""
    if key is not None:
        check_column(obs, key, "data.batch_key")
        return key
    by_lower_name = {str(column).lower(): column for column in obs}
    found = [by_lower_name[name] for name in BATCH_NAMES if name in by_lower_name]
    return next((column for column in found if obs[column].nunique() > 1), None)


def check_column(obs: pd.DataFrame, key: str, setting: str) -> None:
    """Raises `DataError` naming the columns that exist when ``key`` does not."""
    if key not in obs:
        raise DataError(f"{setting}: obs has no column {key}; it has {', '.join(map(str, obs.columns)) or 'none'}")


def chosen_values(wanted: Any) -> list:
    """The values of a filter: one, or several in any sequence."""
    return [wanted] if isinstance(wanted, str | bool | int | float) else list(wanted)


def check_chosen(chosen: Mapping[str, list], known: Mapping[str, set]) -> None:
    """Raises `DataError` naming values that exist when one of a filter is not among the known ones of its column."""
    for column, values in chosen.items():
        unknown = [value for value in values if column in known and value not in known[column]]
        if unknown:
            names = sorted(map(str, known[column]))
            near = difflib.get_close_matches(str(unknown[0]), names, n=3, cutoff=0.5) or names[:10]
            raise DataError(f"data.filter.{column}: no cell has {unknown[0]}; there are such as {', '.join(near)}")


def rows_of(obs: pd.DataFrame, chosen: Mapping[str, list]) -> np.ndarray:
    """Rows, ascending, that have one of the chosen values in each of the columns."""
    kept = np.ones(len(obs), dtype=bool)
    for column, values in chosen.items():
        check_column(obs, column, "data.filter")
        kept &= obs[column].isin(values).to_numpy()
    return np.flatnonzero(kept)


def _is_label(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object or column.dtype == bool:
        n_classes = column.nunique()
        return 2 <= n_classes <= min(MAX_CLASSES, max(2, len(column) // 10))
    return False
