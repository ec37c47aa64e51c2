"""Raw counts, and a description of what a matrix holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from biosae.errors import DataError

COUNTS, EMPTY = "counts", "no value but zero"

MAX_ROUNDING = 1e-3
MAX_RELATIVE_ROUNDING = 1e-5  # float32 noise of counts that went through log1p and expm1
"""Distance from a whole number up to which values are counts, and are rounded; the larger of the two holds."""


def matrix_kind(matrix: Any) -> str:
    """Describe the content of a matrix: `COUNTS`, these with rounding errors, or the reason why it holds none."""
    values = matrix.data if sparse.issparse(matrix) else np.asarray(matrix).ravel()
    if values.dtype.kind not in "biuf":
        return f"values of type {values.dtype}"
    if values.size == 0:
        return EMPTY
    if not np.isfinite(values).all():
        return "NaN or infinite values"
    if values.min() < 0:
        return f"negative values (smallest {values.min():.3g}, scaled or centred data)"
    if values.max() == 0:
        return EMPTY
    return _kind_of_positive(values)


def holds_counts(kind: str) -> bool:
    """Return whether `matrix_kind` described counts, exact or with rounding errors."""
    return kind.startswith(COUNTS)


def as_counts(matrix: Any, where: str) -> sparse.csr_matrix:
    """Return a matrix as CSR float32 of whole numbers.

    Raises
    ------
    DataError
        If it holds something else than counts; the message begins with ``where``.
    """
    counts = sparse.csr_matrix(matrix, dtype=np.float32)
    kind = matrix_kind(counts)
    if not holds_counts(kind) and kind != EMPTY:
        message = f"{where} holds {kind}, but raw counts are needed; see counts_layer"
        raise DataError(message, argument="counts_layer")
    if kind not in (COUNTS, EMPTY):
        counts.data = np.rint(counts.data)
    return counts


def _kind_of_positive(values: np.ndarray) -> str:
    whole, largest = np.rint(values), values.max()
    if np.array_equal(values, whole):
        return COUNTS
    distance = np.abs(values - whole)
    allowed = np.maximum(MAX_ROUNDING, MAX_RELATIVE_ROUNDING * values)
    # Shares of a cell may all be near zero: a value that would vanish is not a count.
    if (distance <= allowed).all() and not ((whole == 0) & (values > 0)).any():
        return f"{COUNTS} with rounding errors (up to {distance.max():.1e} from a whole number, rounded)"
    if distance.max() <= 0.1:
        return (
            f"values up to {distance.max():.1e} from a whole number (largest {largest:.3g}); "
            f"up to {MAX_ROUNDING:g} they are taken for counts, so round them first if they are"
        )
    name = "log-transformed values" if largest < 25 else "values that are not whole numbers"
    return f"{name} (largest {largest:.3g})"
