"""Label and batch columns among the annotations of cells."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from biosae.errors import DataError

from .text import is_text

BATCH_NAMES = ("donor", "donor_id", "patient", "individual", "batch", "sample", "sample_id", "library")
MAX_CLASSES = 100
MIN_PER_BATCH = 2  # cells per batch, on average

Rows = np.ndarray | range
"""Row numbers, ascending; a range takes no memory."""


def find_label_keys(obs: pd.DataFrame, keys: list[str] | None) -> list[str]:
    """Return the given columns, or all that look like labels: text of 2 to 100 values, ten samples each on average."""
    if keys is not None:
        for key in keys:
            check_column(obs, key, "label_keys")
        return list(keys)
    return [key for key in obs if _is_label(obs[key])]


def find_batch_key(obs: pd.DataFrame, key: str | None) -> tuple[str | None, list[str]]:
    """Return the given column, or the first with a usual name that has at least two values, and those passed over.

    A column with fewer than two cells per value on average is passed over: such a ``sample`` names cells, and labels
    cannot be shuffled within it.
    """
    if key is not None:
        check_column(obs, key, "batch_key")
        return key, []
    by_lower_name = {str(column).lower(): column for column in obs}
    found = {by_lower_name[name]: 0 for name in BATCH_NAMES if name in by_lower_name}
    found = {column: obs[column].nunique() for column in found}
    passed = [
        f"{column} has {n:,} values for {len(obs):,} cells and is not taken for a batch"
        for column, n in found.items()
        if n > 1 and n > len(obs) // MIN_PER_BATCH
    ]
    return next((column for column, n in found.items() if 1 < n <= len(obs) // MIN_PER_BATCH), None), passed


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
        unknown = [value for value in values if column in known and not same_values(value, known[column])]
        if unknown:
            names = sorted(map(str, known[column]))
            near = difflib.get_close_matches(str(unknown[0]), names, n=3, cutoff=0.5) or names[:10]
            message = f"filter: no cell has {unknown[0]} as {column}; there are such as {', '.join(near)}"
            raise DataError(message, argument="filter")


def same_values(wanted: object, known: Iterable) -> list:
    """Return the values of a column that are meant: those equal to it, or else those of the same text (1 and "1")."""
    known = list(known)
    equal = [value for value in known if value == wanted]
    return equal or [value for value in known if str(value) == str(wanted)]


def rows_of(obs: pd.DataFrame, chosen: Mapping[str, list]) -> np.ndarray:
    """Return rows, ascending, that have one of the chosen values in each of the columns."""
    kept = np.ones(len(obs), dtype=bool)
    for column, values in chosen.items():
        check_column(obs, column, "filter")
        known = obs[column].dropna().unique()
        kept &= obs[column].isin([same for value in values for same in same_values(value, known)]).to_numpy()
    return np.flatnonzero(kept)


def _is_label(column: pd.Series) -> bool:
    if is_text(column) or pd.api.types.is_bool_dtype(column):
        n_classes = column.nunique()
        return 2 <= n_classes <= min(MAX_CLASSES, max(2, len(column) // 10))
    return False
