"""One file of cells, of which counts are read a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset
from scipy import sparse

from biosae.errors import BiosaeError, DataError, require

from .matrix import find_counts, matrix_kind
from .obs import Rows, check_column, rows_of

BLOCK_CELLS = 4096


class CellFile:
    """An .h5ad or .zarr, of which only the genes are kept in memory.

    Parameters
    ----------
    counts_layer
        Layer with the raw counts; by default the first place that holds some.
    chosen
        For columns of ``obs`` the values of the cells to read; the others are as if they were not there.
    columns
        Columns of ``obs`` to read, all by default.

    Attributes
    ----------
    n_cells, var
        Number of chosen cells, annotations of the genes.
    known
        For the columns of ``chosen`` the values that are there.
    umap
        ``(n_cells, 2)``, or None.
    place
        Place of the raw counts: ``X``, ``raw`` or ``layers["<name>"]``.

    Raises
    ------
    DataError
        If the file is missing, damaged, empty, has a cell id twice or no raw counts.
    """

    def __init__(
        self,
        path: Path | str,
        counts_layer: str | None = None,
        chosen: Mapping[str, list] | None = None,
        columns: Sequence[str] | None = None,
    ):
        self.path, self._columns = Path(path).expanduser(), columns
        with open_store(self.path) as store:
            _check_tables(self.path, store)
            self.var: pd.DataFrame = read_elem(store["var"])
            n_in_file = _n_rows(store["obs"])
            if 0 in (n_in_file, len(self.var)):
                message = (
                    f"{self.path} holds {n_in_file} cells x {len(self.var)} genes; nothing to do with an empty matrix"
                )
                raise DataError(message)
            obs = _read_obs(self.path, store["obs"], list(chosen), "filter") if chosen else None
            self._rows = rows_of(obs, chosen) if chosen else range(n_in_file)
            self.n_cells = len(self._rows)
            self.known = {column: set(obs[column].dropna().unique()) for column in chosen or {}}
            umap = read_elem(store["obsm/X_umap"]) if "X_umap" in store.get("obsm", {}) else None
            self.umap = None if umap is None else np.asarray(umap)[self._taken(range(self.n_cells))]
            self.place = self._find_counts(store, n_in_file, counts_layer)

    def _find_counts(self, store: Any, n_in_file: int, layer: str | None) -> str:
        try:
            return find_counts(_head(store, n_in_file, self.var), layer)[1]
        except DataError as error:
            message = f"{self.path}: {error}"
            if _holds(store, "raw/X") and (n := _n_columns(store["raw/X"])) != len(self.var):
                message += (
                    f"; raw has {n:,} genes where X has {len(self.var):,}: if it holds the counts, make it a file"
                )
                message += " of its own, adata.raw.to_adata().write_h5ad(...)"
            raise DataError(message, error.argument) from error

    def _taken(self, rows: Rows) -> np.ndarray:
        """Return rows of the chosen cells as rows of the file."""
        rows = np.asarray(rows)
        return rows if isinstance(self._rows, range) else self._rows[rows]

    def obs(self) -> pd.DataFrame:
        """Annotations of the cells, without their names."""
        with open_store(self.path) as store:
            obs = _read_obs(self.path, store["obs"], self._columns, "obs_columns")
        return obs if self.n_cells == len(obs) else obs.iloc[self._rows].reset_index(drop=True)

    def names(self, rows: Rows | None = None) -> Iterator[np.ndarray]:
        """Names of the cells, at most ``BLOCK_CELLS`` at a time."""
        rows = range(self.n_cells) if rows is None else rows
        with open_store(self.path) as store:
            index = _names_of(store["obs"])
            for first in range(0, len(rows), BLOCK_CELLS):
                names = _take(index, self._taken(rows[first : first + BLOCK_CELLS]))
                yield np.array([name.decode() if isinstance(name, bytes) else str(name) for name in names], object)

    def total_counts(self) -> None:
        """Return None: such a file does not store them."""
        return None

    def blocks(self, rows: Rows | None = None) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """Row numbers, ascending, and their counts ``(n, n_genes) float32``, at most ``BLOCK_CELLS`` at a time.

        Raises
        ------
        DataError
            If a block holds something else than counts.
        """
        rows = range(self.n_cells) if rows is None else rows
        with open_store(self.path) as store:
            matrix = _by_rows(store[_key(self.place)])
            for first in range(0, len(rows), BLOCK_CELLS):
                block = self._taken(rows[first : first + BLOCK_CELLS])
                counts = sparse.csr_matrix(_take(matrix, block), dtype=np.float32)
                self._check_counts(counts, block)
                yield block, counts

    def _check_counts(self, counts: sparse.csr_matrix, rows: np.ndarray) -> None:
        kind = matrix_kind(counts)
        if kind not in ("counts", "no value but zero"):
            where = f"{self.place} of cells {rows[0]} to {rows[-1]}"
            message = f"{self.path}: raw counts are needed, but {where} holds {kind}; see counts_layer"
            raise DataError(message, argument="counts_layer")


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
            with h5py.File(path, "r") as store:
                yield store
    except BiosaeError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} cannot be read as {'.zarr' if path.is_dir() else '.h5ad'}: {reason}") from error


def _check_signature(path: Path) -> None:
    if h5py.is_hdf5(path):
        return
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    advice = "unpack it first (gunzip)" if is_gzip else "read other formats with scanpy and write adata.write_h5ad(...)"
    raise DataError(f"{path} cannot be read as .h5ad: it is not an HDF5 file; {advice}")


def _check_tables(path: Path, store: Any) -> None:
    for name in ("obs", "var"):
        if name not in store:
            found = ", ".join(islice(store, 3)) or "nothing"
            message = f"{path} cannot be read as .h5ad: it has no {name} but {found}"
            advice = "read other formats with scanpy (such as read_10x_h5) and write .h5ad"
            raise DataError(f"{message}; {advice}; a file of protein embeddings is another kind of data, protein_h5")
        if "_index" not in store[name].attrs:
            message = f"{path} was written by anndata before 0.7; write it anew with today's"
            raise DataError(f"{message}: anndata.read_h5ad('{path.name}').write_h5ad(...)")


def head_of(path: Path | str) -> anndata.AnnData:
    """The first cells of a file with their annotations and all their matrices."""
    path = Path(path).expanduser()
    with open_store(path) as store:
        _check_tables(path, store)
        obs, var = read_elem(store["obs"]), read_elem(store["var"])
        head = _head(store, len(obs), var)
    head.obs = obs.iloc[: head.n_obs]
    return head


def _read_obs(path: Path, element: Any, columns: Sequence[str] | None, argument: str) -> pd.DataFrame:
    """Return some columns of a table, all by default, without the names of its rows."""
    known = [str(name) for name in element.attrs["column-order"]]
    for column in columns or ():
        check_column(pd.DataFrame(columns=known), column, argument)
    chosen = known if columns is None else [name for name in known if name in columns]
    return pd.DataFrame({name: read_elem(element[name]) for name in chosen}, index=range(_n_rows(element)))


def _names_of(element: Any) -> Any:
    """The names of the rows of a table: in memory, or as a data set that is read in parts."""
    index = element[element.attrs["_index"]]
    return index if hasattr(index, "shape") else np.asarray(read_elem(index))  # a group where some may be missing


def _n_rows(element: Any) -> int:
    index = element[element.attrs["_index"]]
    return index.shape[0] if hasattr(index, "shape") else len(read_elem(index))


def _head(store: Any, n_cells: int, var: pd.DataFrame) -> anndata.AnnData:
    """Return the first cells with all their matrices."""
    rows = np.arange(min(n_cells, BLOCK_CELLS))
    layers = {name: _take(_by_rows(store[f"layers/{name}"]), rows) for name in store.get("layers", {})}
    x = _take(_by_rows(store["X"]), rows) if _holds(store, "X") else None
    names = {"obs": pd.DataFrame(index=rows.astype(str)), "var": pd.DataFrame(index=var.index)}
    head = anndata.AnnData(x, layers=layers, **names)
    if _holds(store, "raw/X") and _n_columns(store["raw/X"]) == len(var):
        head.raw = anndata.AnnData(_take(_by_rows(store["raw/X"]), rows), **names)
    return head


def _holds(store: Any, key: str) -> bool:
    """Return whether an element exists and is not a placeholder for None."""
    return key in store and store[key].attrs.get("encoding-type") != "null"


def _n_columns(element: Any) -> int:
    return int(element.attrs["shape"][1] if "shape" in element.attrs else element.shape[1])


def _key(place: str) -> str:
    """Return the key in the file of a place that `find_counts` names."""
    return {"X": "X", "raw": "raw/X"}.get(place) or place.replace('layers["', "layers/").removesuffix('"]')


def _by_rows(element: Any) -> Any:
    """Return a matrix on disk that is read by rows; CSC has to be read whole."""
    if not str(element.attrs.get("encoding-type", "array")).startswith(("csr", "csc")):
        return element
    matrix = sparse_dataset(element)
    return matrix if matrix.format == "csr" else sparse.csr_matrix(matrix.to_memory())


def _take(matrix: Any, rows: np.ndarray) -> Any:
    """Some rows, ascending, of a matrix in memory or on disk."""
    first, last = int(rows[0]), int(rows[-1]) + 1
    if isinstance(matrix, sparse.csr_matrix) or len(rows) == last - first:
        return matrix[first:last] if len(rows) == last - first else matrix[rows]
    if len(rows) > (last - first) // 20:
        return matrix[first:last][rows - first]
    parts = [matrix[row : row + 1] for row in rows.tolist()]
    return sparse.vstack(parts) if sparse.issparse(parts[0]) else np.concatenate(parts)
