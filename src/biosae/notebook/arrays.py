"""Activations that a user has: a tensor, an array, or an iterator of batches, as samples with tokens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from biosae.artefacts import unnamed_file
from biosae.errors import DataError

ROWS_PER_BLOCK = 1 << 16


@dataclass(frozen=True, eq=False)
class Rows:
    """Activations in memory or mapped, the tokens of one sample after those of the other.

    Attributes
    ----------
    values
        ``(n_tokens, d)`` numbers.
    ids
        ``(n_samples,)`` names of the samples.
    n_rows
        ``(n_samples,) int64`` tokens of each.
    """

    values: np.ndarray
    ids: np.ndarray
    n_rows: np.ndarray

    @property
    def d(self) -> int:
        return self.values.shape[1]

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return ``(n, d) float32``, the tokens of some samples, one after the other."""
        ends = np.cumsum(self.n_rows)
        places = [np.arange(ends[row] - self.n_rows[row], ends[row]) for row in rows]
        return np.asarray(self.values[np.concatenate(places)], dtype=np.float32)


def matrix_of(x: Tensor | np.ndarray | Iterable) -> np.ndarray:
    """Return ``(..., d)`` numbers; batches of an iterator are written to a file without a name, one by one.

    Raises
    ------
    DataError
        If there are no numbers, or batches of several widths.
    """
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, str | bytes) or not isinstance(x, Iterable):
        message = f"activations are a tensor, an array or an iterator of those, got {type(x).__name__}"
        raise DataError(message, argument="x")
    return _spooled(x)


def _spooled(batches: Iterable) -> np.ndarray:
    with unnamed_file(Path(tempfile.gettempdir())) as file:
        d, n = None, 0
        for batch in batches:
            block = matrix_of(batch) if isinstance(batch, Tensor | np.ndarray) else np.asarray(batch)
            d = block.shape[-1] if d is None and block.ndim else d
            if block.ndim < 2 or block.shape[-1] != d:
                raise DataError(f"batches must be (n, d={d}), got shape {block.shape}", argument="x")
            block = np.ascontiguousarray(block, np.float32).reshape(-1, d)
            file.write(block)
            n += len(block)
        if n == 0:
            raise DataError("the iterator has no batch", argument="x")
        file.flush()
        return np.memmap(file, np.float32, mode="r", shape=(n, d))


def rows_of(
    x: Tensor | np.ndarray | Iterable, sample_ids: Sequence[str] | None, mask: np.ndarray | None = None
) -> tuple[Rows, np.ndarray]:
    """Return activations as rows by sample, and for each row its place in ``x``.

    Parameters
    ----------
    x
        ``(n, d)``, one token per row, or ``(n, n_tokens, d)``, one sample per row.
    sample_ids
        Sample of each row; the tokens of a sample need not stand together. None: each row of the first axis is one.
    mask
        ``(n, n_tokens) bool``, true for the tokens of a three-dimensional ``x`` that are none of its padding.

    Raises
    ------
    DataError
        If shapes do not fit each other, or a number is not finite.
    """
    values = matrix_of(x)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise DataError(f"activations must be (n, d) or (n, n_tokens, d), got shape {values.shape}", argument="x")
    if sample_ids is not None and len(sample_ids) != len(values):
        message = f"sample_ids must name the {len(values):,} rows, got {len(sample_ids):,} names"
        raise DataError(message, argument="sample_ids")
    ids = np.arange(len(values)).astype(str) if sample_ids is None else np.asarray(sample_ids).astype(str)
    place = np.arange(values[..., 0].size)
    if values.ndim == 3:
        ids, place = np.repeat(ids, values.shape[1]), _kept(mask, values.shape[:2])
        values, ids = values.reshape(-1, values.shape[2]), ids[place]
    names, first, number = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # samples in the order in which they appear
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    by_sample = np.argsort(rank[number], kind="stable")
    place = place[by_sample]
    values = values if np.array_equal(place, np.arange(len(values))) else values[place]
    _check_finite(values)
    return Rows(values, names[order].astype(object), np.bincount(rank[number])), place


def _kept(mask: np.ndarray | Tensor | None, shape: tuple[int, ...]) -> np.ndarray:
    if mask is None:
        return np.arange(np.prod(shape))
    mask = np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask)
    if mask.shape != shape:
        raise DataError(f"mask must be {shape}, one value per token, got shape {mask.shape}", argument="mask")
    return np.flatnonzero(mask)


def _check_finite(values: np.ndarray) -> None:
    for first in range(0, len(values), ROWS_PER_BLOCK):
        if not np.isfinite(values[first : first + ROWS_PER_BLOCK]).all():
            raise DataError("activations contain NaN or infinite values; leave those rows out", argument="x")
