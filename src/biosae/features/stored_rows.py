"""Chosen rows of a matrix in an AnnData file, read in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from anndata.io import read_elem, sparse_dataset
from scipy import sparse

from biosae.artefacts import damaged
from biosae.errors import BiosaeError, reason_of

from .origin import MADE_BY

ROWS_PER_BLOCK = 4096


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file of the features stage to read; whatever damage makes HDF5 raise becomes an `ArtefactError`."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except BiosaeError:
        raise
    except Exception as error:  # HDF5 and its readers raise whatever damaged attributes cause
        raise damaged(path, reason_of(error), MADE_BY) from error


def in_blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield runs of ascending rows that lie in the same `ROWS_PER_BLOCK` rows of the file."""
    yield from np.split(rows, np.flatnonzero(np.diff(rows // ROWS_PER_BLOCK)) + 1)


def sparse_blocks(stored: h5py.Group, rows: np.ndarray) -> Iterator[sparse.csr_matrix]:
    """Yield ascending rows of a sparse matrix, one block after the other."""
    matrix = sparse_dataset(stored)
    for chosen in in_blocks(rows):
        yield matrix[chosen[0] : chosen[-1] + 1][chosen - chosen[0]]


def sparse_rows(stored: h5py.Group, rows: np.ndarray | None) -> sparse.csr_matrix:
    """Return ascending rows of a sparse matrix; all for None."""
    return read_elem(stored) if rows is None else sparse.vstack(list(sparse_blocks(stored, rows)), format="csr")


def dense_rows(stored: h5py.Dataset, rows: np.ndarray | None) -> np.ndarray:
    """Return ascending rows of an array; all for None."""
    if rows is None:
        return read_elem(stored)
    return np.concatenate([stored[chosen[0] : chosen[-1] + 1][chosen - chosen[0]] for chosen in in_blocks(rows)])
