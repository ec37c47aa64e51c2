"""Columns of text, in whichever of pandas' types they come."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.api import types


def is_text(column: pd.Series) -> bool:
    """Return whether a column holds text or categories; pandas has three types of text beside categories."""
    return isinstance(column.dtype, pd.CategoricalDtype) or types.is_object_dtype(column) or _is_string(column)


def as_text(values: pd.Series) -> pd.Series:
    """Return values as text without spaces around them, "" where missing, with row numbers as index."""
    return values.astype(object).where(values.notna(), "").astype(str).astype(object).str.strip().reset_index(drop=True)


def plain_column(column: pd.Series) -> pd.Series:
    """Return a column in a type that knows missing values without pandas' masks, and that an .h5ad can hold.

    Text becomes objects, or categories where some is missing; whole numbers with missing values become floats,
    booleans with missing values the categories "False" and "True".
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.rename_categories(plain_index(column.cat.categories))
    if _is_string(column):
        return column.astype(object) if column.notna().all() else _categories(column)
    if types.is_extension_array_dtype(column.dtype) and types.is_bool_dtype(column.dtype):
        return column.astype(bool) if column.notna().all() else _categories(column)
    if types.is_extension_array_dtype(column.dtype) and types.is_numeric_dtype(column.dtype):
        return column.astype(column.dtype.numpy_dtype) if column.notna().all() else column.astype(np.float64)
    if types.is_object_dtype(column) and types.infer_dtype(column, skipna=False) != "string":
        return _categories(column)  # some are missing, or of another type
    return column


def plain_index(names: pd.Index) -> pd.Index:
    """Return names as objects when they are of one of pandas' types of text."""
    return names.astype(object) if isinstance(names.dtype, pd.StringDtype) else names


def _is_string(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.StringDtype)


def _categories(column: pd.Series) -> pd.Series:
    text = column.astype(object)
    return text.where(text.isna(), text.astype(str)).astype("category")
