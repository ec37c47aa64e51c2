"""Searches of the encoder's output and dot products as compiled loops, where numba is installed.

A search reads each matrix once and looks at only candidates twice, which torch's operators cannot say; dot products
take four entries of a row at a time. Rows are shared out to as many threads as torch uses.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def fits(matrix: Tensor) -> bool:
    """Whether the loops take this matrix: float32, row after row, on a processor, and numba is at hand."""
    return matrix.device.type == "cpu" and matrix.dtype == torch.float32 and matrix.is_contiguous() and _has_numba()


def takes_places(places: Tensor) -> bool:
    """Whether the loops take this vector of whole numbers."""
    return places.device.type == "cpu" and places.is_contiguous() and _has_numba()


def in_threads(rows: Callable[[int, int], Result], n_rows: int) -> list[Result]:
    """The results for consecutive blocks of rows, one block a thread."""
    n_threads = max(1, min(torch.get_num_threads(), n_rows))
    bounds = np.linspace(0, n_rows, n_threads + 1).astype(int)
    others = [_pool().submit(rows, *bounds[i : i + 2]) for i in range(1, n_threads)]
    return [rows(*bounds[:2]), *(other.result() for other in others)]


def largest_in_rows(matrix: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
    """Values and columns, ``(n_rows, k)``, of the ``k`` largest entries of every row, in any order; None with a NaN."""
    values = np.empty((len(matrix), k), dtype=np.float32)
    columns = np.empty((len(matrix), k), dtype=np.int64)
    entries, search = matrix.numpy(), _loops().search_rows

    def rows(start: int, stop: int) -> bool:
        return search(entries[start:stop], k, values[start:stop], columns[start:stop])

    is_clean = all(in_threads(rows, len(matrix)))
    return (torch.from_numpy(values), torch.from_numpy(columns)) if is_clean else None


def entries_above(matrix: Tensor, lowest: Tensor | float) -> tuple[Tensor, Tensor]:
    """Positions in the flattened matrix, ascending, and values of the entries above a number, or one a column."""
    width = matrix.shape[1]
    bounds = torch.as_tensor(lowest, dtype=torch.float32).expand(width).contiguous().numpy()
    entries, search = matrix.numpy(), _loops().search_above

    def rows(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        size = (stop - start) * width
        positions, values = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.float32)  # memory only where filled
        n = search(entries[start:stop], bounds, start * width, positions, values)
        return positions[:n].copy(), values[:n].copy()

    positions, values = zip(*in_threads(rows, len(matrix)), strict=True)
    return torch.from_numpy(np.concatenate(positions)), torch.from_numpy(np.concatenate(values))


def dot_products(left: Tensor, right: Tensor, features: Tensor, row_offsets: Tensor) -> Tensor:
    """``(n_entries,)`` products of each row of ``left`` with the rows of ``right`` that it has as features."""
    products = np.empty(len(features), dtype=np.float32)
    given = [tensor.numpy() for tensor in (left, right, features, row_offsets)]

    def rows(start: int, stop: int) -> None:
        _loops().dot_products(*given, start, stop, products)

    in_threads(rows, len(left))
    return torch.from_numpy(products)


def by_feature(features: Tensor, row_offsets: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers and rows of entries, feature after feature and in each row after row; ``offsets`` are the features'."""
    entries, rows = np.empty(len(features), dtype=np.int64), np.empty(len(features), dtype=np.int64)
    _loops().by_feature(features.numpy(), row_offsets.numpy(), offsets.numpy().copy(), entries, rows)
    return torch.from_numpy(entries), torch.from_numpy(rows)


@cache
def _has_numba() -> bool:
    """Whether numba is installed and works: it may not know this numpy, or have no folder for what it compiles."""
    if find_spec("numba") is None:
        return False
    try:
        _loops()
    except (ImportError, RuntimeError) as error:
        logger.warning("numba is installed but does not work, so that training takes longer: %s", error)
        return False
    return True


@cache
def _loops() -> ModuleType:
    """Compiled at first use, in a few seconds, and kept on disk for the next process."""
    return importlib.import_module(".numba_loops", __package__)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="biosae-search")
