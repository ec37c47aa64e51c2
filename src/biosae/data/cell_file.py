"""One file of cells, of which counts are read a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata.io import read_elem
from scipy import sparse

from biosae.errors import DataError

from .counts_place import Place, find_counts, kind_of, places_of
from .matrix import as_counts
from .obs import Rows, rows_of
from .store import by_rows, check_tables, n_rows, names_of, open_store, read_columns, take

BLOCK_CELLS = 4096


class CellFile:
    """An .h5ad or .zarr, of which only the genes are kept in memory.

    Parameters
    ----------
    counts_layer
        Layer with the raw counts, ``X`` or ``raw``; by default the place that holds counts of the most genes.
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
    findings
        Sentences about what was left out or passed over.

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
            check_tables(self.path, store)
            n_in_file = _n_cells(self.path, store)
            obs = read_columns(store["obs"], list(chosen), "filter") if chosen else None
            self._rows = rows_of(obs, chosen) if chosen else range(n_in_file)
            self.n_cells = len(self._rows)
            self.known = {column: set(obs[column].dropna().unique()) for column in chosen or {}}
            found = self._find_counts(store, n_in_file, counts_layer)
            self.umap, about_umap = _umap(store, self._taken(range(self.n_cells)))
        self.place, self._key, self._genes = found.name, found.key, found.genes
        self.var: pd.DataFrame = found.var
        self.findings = [*found.findings, *about_umap]

    def _find_counts(self, store: Any, n_in_file: int, layer: str | None) -> Place:
        used = range(self.n_cells) if self.n_cells else range(n_in_file)
        try:
            return find_counts(store, n_in_file, layer, lambda: self._blocks_of_rows(used))[0]
        except DataError as error:
            raise DataError(f"{self.path}: {error}", error.argument) from error

    def _blocks_of_rows(self, rows: Rows) -> Iterator[np.ndarray]:
        """Some chosen cells as rows of the file, at most ``BLOCK_CELLS`` at a time."""
        for first in range(0, len(rows), BLOCK_CELLS):
            block = rows[first : first + BLOCK_CELLS]
            yield self._taken(block) if self.n_cells else np.asarray(block)

    def _taken(self, rows: Rows) -> np.ndarray:
        """Return rows of the chosen cells as rows of the file."""
        rows = np.asarray(rows, dtype=np.int64)
        return rows if isinstance(self._rows, range) else self._rows[rows]

    def obs(self) -> pd.DataFrame:
        """Annotations of the cells, without their names."""
        with open_store(self.path) as store:
            obs = read_columns(store["obs"], self._columns, "obs_columns")
        return obs if self.n_cells == len(obs) else obs.iloc[self._rows].reset_index(drop=True)

    def names(self, rows: Rows | None = None) -> Iterator[np.ndarray]:
        """Names of the cells, at most ``BLOCK_CELLS`` at a time."""
        rows = range(self.n_cells) if rows is None else rows
        with open_store(self.path) as store:
            index = names_of(store["obs"])
            for block in self._blocks_of_rows(rows):
                names = take(index, block)
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
            matrix = by_rows(store[self._key])
            are_all = len(self._genes) == matrix.shape[1]
            for block in self._blocks_of_rows(rows):
                part = take(matrix, block)
                where = f"{self.path}: {self.place} of cells {block[0]} to {block[-1]}"
                yield block, as_counts(part if are_all else part[:, self._genes], where)


def matrix_kinds(path: Path | str) -> dict[str, str]:
    """Describe each matrix of a file, and the columns of ``obs``."""
    path = Path(path).expanduser()
    with open_store(path) as store:
        check_tables(path, store)
        n_cells = _n_cells(path, store)

        def blocks() -> Iterator[np.ndarray]:
            return (np.arange(n, min(n + BLOCK_CELLS, n_cells)) for n in range(0, n_cells, BLOCK_CELLS))

        kinds = {
            name: f"{kind_of(store, place, blocks)} ({len(place.genes):,} genes)"
            for name, place in places_of(store, n_cells).items()
        }
        return kinds | {"obs columns": ", ".join(map(str, store["obs"].attrs["column-order"])) or "none"}


def _n_cells(path: Path, store: Any) -> int:
    """Number of cells of a file that has some, and genes."""
    n_cells, n_genes = n_rows(store["obs"]), n_rows(store["var"])
    if 0 in (n_cells, n_genes):
        raise DataError(f"{path} holds {n_cells} cells x {n_genes} genes; nothing to do with an empty matrix")
    return n_cells


def _umap(store: Any, rows: np.ndarray) -> tuple[np.ndarray | None, list[str]]:
    """The UMAP of the file if it is a map of all cells, or the reason why it is not used."""
    if "X_umap" not in store.get("obsm", {}):
        return None, []
    found = read_elem(store["obsm/X_umap"])
    found = found.toarray() if sparse.issparse(found) else np.asarray(found)
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "iuf":
        shape = " x ".join(map(str, found.shape))
        return None, [f'obsm["X_umap"] is not used: {shape} values of type {found.dtype} are not a map in two axes']
    umap = found[rows]
    n_missing = int((~np.isfinite(umap)).any(axis=1).sum())
    if n_missing:
        return None, [f'obsm["X_umap"] is not used: {n_missing:,} of {len(umap):,} cells have no position']
    return umap, []
