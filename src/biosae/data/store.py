"""The tables and matrices of an .h5ad or .zarr, read in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset
from scipy import sparse

from biosae.errors import BiosaeError, DataError, require

from .hdf5_heap import check_string_heaps
from .obs import check_column
from .text import plain_column


@contextmanager
def open_store(path: Path) -> Iterator[Any]:
    """Open a file or Zarr group; errors of the libraries that read it become one clear line."""
    if not path.exists():
        message = f"path {path} does not exist or is not a file; give an .h5ad or .zarr"
        raise DataError(message, argument="path")
    try:
        if path.is_dir():
            yield require("zarr", "sc").open_group(path, mode="r")
        else:
            _check_signature(path)
            _check_heaps_once(path, path.stat().st_size, path.stat().st_mtime_ns)
            with h5py.File(path, "r") as store:
                yield store
    except BiosaeError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} cannot be read as {'.zarr' if path.is_dir() else '.h5ad'}: {reason}") from error


@cache
def _check_heaps_once(path: Path, size: int, changed: int) -> None:
    """Check the heaps of strings when a file, as it is now, is first opened: that reads all of it."""
    check_string_heaps(path)


def _check_signature(path: Path) -> None:
    if h5py.is_hdf5(path):
        return
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    advice = "unpack it first (gunzip)" if is_gzip else "read other formats with scanpy and write adata.write_h5ad(...)"
    raise DataError(f"{path} cannot be read as .h5ad: it is not an HDF5 file; {advice}")


def check_tables(path: Path, store: Any) -> None:
    """Raise `DataError` for a file that anndata did not write, or before its version 0.7."""
    for name in ("obs", "var"):
        if name not in store:
            found = ", ".join(islice(store, 3)) or "nothing"
            message = f"{path} cannot be read as .h5ad: it has no {name} but {found}"
            advice = "read other formats with scanpy (such as read_10x_h5) and write .h5ad"
            raise DataError(f"{message}; {advice}; a file of protein embeddings is another kind of data, protein_h5")
        if "_index" not in store[name].attrs:
            message = f"{path} was written by anndata before 0.7; write it anew with today's"
            raise DataError(f"{message}: anndata.read_h5ad('{path.name}').write_h5ad(...)")


def read_columns(element: Any, columns: Sequence[str] | None, argument: str) -> pd.DataFrame:
    """Return some columns of a table, all by default, without the names of its rows."""
    known = [str(name) for name in element.attrs["column-order"]]
    for column in columns or ():
        check_column(pd.DataFrame(columns=known), column, argument)
    chosen = known if columns is None else [name for name in known if name in columns]
    rows = range(n_rows(element))
    return pd.DataFrame({name: plain_column(pd.Series(_column(element, name), rows)) for name in chosen}, index=rows)


def _column(table: Any, name: str) -> Any:
    """A column; anndata 0.7 wrote codes of categories, and their names elsewhere."""
    column = table[name]
    place = column.attrs.get("categories")
    if place is None or not hasattr(column, "shape"):  # today's categories are a group
        return read_elem(column)
    names = table[place]
    return pd.Categorical.from_codes(column[()], read_elem(names), ordered=bool(names.attrs.get("ordered", False)))


def names_of(element: Any) -> Any:
    """The names of the rows of a table: in memory, or as a data set that is read in parts."""
    index = element[element.attrs["_index"]]
    return index if hasattr(index, "shape") else np.asarray(read_elem(index))  # a group where some may be missing


def n_rows(element: Any) -> int:
    """Number of rows of a table."""
    index = element[element.attrs["_index"]]
    return index.shape[0] if hasattr(index, "shape") else len(read_elem(index))


def holds(store: Any, key: str) -> bool:
    """Return whether an element exists and is not a placeholder for None."""
    return key in store and store[key].attrs.get("encoding-type") != "null"


def shape_of(element: Any) -> tuple[int, ...]:
    """Shape of a matrix, dense or sparse."""
    return tuple(int(n) for n in (element.attrs["shape"] if "shape" in element.attrs else element.shape))


def by_rows(element: Any) -> Any:
    """Return a matrix on disk that is read by rows; CSC has to be read whole."""
    if not str(element.attrs.get("encoding-type", "array")).startswith(("csr", "csc")):
        return element
    matrix = sparse_dataset(element)
    return matrix if matrix.format == "csr" else sparse.csr_matrix(matrix.to_memory())


def take(matrix: Any, rows: np.ndarray) -> Any:
    """Some rows, ascending, of a matrix in memory or on disk."""
    first, last = int(rows[0]), int(rows[-1]) + 1
    if isinstance(matrix, sparse.csr_matrix) or len(rows) == last - first:
        return matrix[first:last] if len(rows) == last - first else matrix[rows]
    if len(rows) > (last - first) // 20:
        return matrix[first:last][rows - first]
    parts = [matrix[row : row + 1] for row in rows.tolist()]
    return sparse.vstack(parts) if sparse.issparse(parts[0]) else np.concatenate(parts)
