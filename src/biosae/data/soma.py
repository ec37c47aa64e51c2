"""Cells of a TileDB-SOMA experiment, on disk or in a bucket, and of a release of the CELLxGENE Census."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.errors import BiosaeError, DataError, require

from .gene_rows import gene_rows
from .matrix import as_counts
from .obs import Rows, check_column, same_values
from .text import plain_column

CENSUS = "census:"
"""Start of a path that names a release of the Census: ``census:2025-11-08``, ``census:stable``."""

RELEASES = "https://census.cellxgene.cziscience.com/cellxgene-census/v1/release.json"
ORGANISM, MEASUREMENT = "homo_sapiens", "RNA"
USUAL_LAYERS = ("raw", "counts", "data")
BLOCK_CELLS = 4096
BUFFER_BYTES = 1 << 25  # of each column that is read; the client's own default is 1 GB


class SomaExperiment:
    """Cells of a SOMA experiment; only the genes and the ids of the cells are kept in memory.

    Parameters
    ----------
    path
        Folder or URI (``s3://...``) of an experiment or of a Census, or ``census:<release>``.
    counts_layer
        Layer of ``X``; by default ``raw``, ``counts`` or ``data``, the first that is there.
    chosen
        For columns of ``obs`` the values of the cells to read; the store picks them.
    columns
        Columns of ``obs`` to read, all by default.

    Attributes
    ----------
    path
        Folder or URI of the experiment.
    n_cells, var, known, umap, place, findings
        As of `CellFile`; ``known`` only of columns for which the store keeps a list of values.

    Raises
    ------
    DataError
        If nothing can be read there or the layer does not hold counts.
    """

    umap = None

    def __init__(
        self,
        path: Path | str,
        counts_layer: str | None = None,
        chosen: Mapping[str, Sequence] | None = None,
        columns: Sequence[str] | None = None,
    ):
        self.path, self._settings = _located(path)
        self._chosen, self._columns = dict(chosen or {}), None if columns is None else list(columns)
        with self._open() as experiment:
            measurement = _measurement(self.path, experiment)
            self._layer = _layer(self.path, list(measurement.X), counts_layer)
            self.place = f'X["{self._layer}"]'
            var = measurement.var.read().concat().to_pandas().sort_values("soma_joinid")
            genes, self.findings = gene_rows(var)
            var = var.iloc[genes]
            self._columns_of_genes = var.pop("soma_joinid").to_numpy()
            self.var: pd.DataFrame = var.set_index(_gene_index(var, self._columns_of_genes))
            self.known = _known(experiment.obs, self._chosen)
            self._chosen = {column: self._stored(experiment.obs, column) for column in self._chosen}
            self._ids = self._read_obs(experiment, [])["soma_joinid"].to_numpy()
        self.n_cells = len(self._ids)

    def obs(self) -> pd.DataFrame:
        """Annotations of the cells, without their names."""
        with self._open() as experiment:
            known = [name for name in experiment.obs.keys() if name != "soma_joinid"]
            for column in self._columns or ():
                check_column(pd.DataFrame(columns=known), column, "obs_columns")
            columns = [name for name in known if name in (self._columns or known) and name != "obs_id"]
            obs = self._read_obs(experiment, columns)
        return obs.drop(columns="soma_joinid").reset_index(drop=True).apply(plain_column)

    def names(self, rows: Rows | None = None) -> Iterator[np.ndarray]:
        """As `CellFile.names`: ``obs_id``, or ``soma_joinid`` of a cell that has none."""
        ids = self._ids if rows is None else self._ids[np.asarray(rows)]
        with self._open() as experiment:
            is_named = "obs_id" in experiment.obs.keys()
            for first in range(0, len(ids), BLOCK_CELLS):
                block = ids[first : first + BLOCK_CELLS]
                if is_named:
                    table = experiment.obs.read((block,), column_names=["soma_joinid", "obs_id"]).concat().to_pandas()
                    yield table.set_index("soma_joinid").loc[block, "obs_id"].astype(str).to_numpy(object)
                else:
                    yield block.astype(str).astype(object)

    def total_counts(self) -> np.ndarray | None:
        """Return the total counts of each cell where the Census stores them, which saves a pass over the counts."""
        with self._open() as experiment:
            if self._layer != "raw" or "raw_sum" not in experiment.obs.keys() or self.findings:
                return None
            obs = self._read_obs(experiment, ["raw_sum"])
        return obs["raw_sum"].to_numpy(np.float32)

    def blocks(self, rows: Rows | None = None) -> Iterator[tuple[np.ndarray, sparse.csr_matrix]]:
        """As `CellFile.blocks`.

        The client does not read ahead (``eager``): its thread would go on reading from an experiment that is closed
        when the caller wants no more blocks.
        """
        rows = np.arange(self.n_cells) if rows is None else np.asarray(rows)
        with self._open() as experiment:
            matrix = _measurement(self.path, experiment).X[self._layer]
            whole = np.array_equal(self._columns_of_genes, np.arange(matrix.shape[1]))
            read = matrix.read((self._ids[rows],))
            read = read.blockwise(axis=0, size=BLOCK_CELLS, reindex_disable_on_axis=[1], eager=False)
            for number, (table, _) in enumerate(read.tables()):
                block = rows[number * BLOCK_CELLS :][:BLOCK_CELLS]
                row, column, count = (table[name].to_numpy() for name in ("soma_dim_0", "soma_dim_1", "soma_data"))
                # scipy makes the matrix: the client's own way to one corrupts memory now and then (tiledbsoma 2.3.0).
                counts = sparse.csr_matrix((count, (row, column)), (len(block), matrix.shape[1]), dtype=np.float32)
                counts = counts if whole else counts[:, self._columns_of_genes]
                yield block, as_counts(counts, f"{self.path}: {self.place} of cells {block[0]} to {block[-1]}")

    def _stored(self, obs: Any, column: str) -> list:
        """The chosen values of a column as the store has them: a number may stand there as text."""
        wanted = self._chosen[column]
        if column in self.known:
            return [same for value in wanted for same in same_values(value, self.known[column]) or [value]]
        is_text = str(obs.schema.field(column).type) in ("string", "large_string")
        return [str(value) if is_text else value for value in wanted]

    def _read_obs(self, experiment: Any, columns: list[str]) -> pd.DataFrame:
        """Some columns for the chosen cells, in the order of their ids."""
        condition = " and ".join(_condition(*choice) for choice in self._chosen.items())
        table = experiment.obs.read(column_names=["soma_joinid", *columns], value_filter=condition or None).concat()
        return table.to_pandas().sort_values("soma_joinid")[["soma_joinid", *columns]]

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Open the experiment; errors of the library that reads it become one clear line."""
        tiledbsoma = require("tiledbsoma", "soma")
        try:
            with tiledbsoma.open(str(self.path), context=_context(tuple(self._settings.items()))) as opened:
                yield opened["census_data"][ORGANISM] if "census_data" in opened else opened
        except BiosaeError:
            raise
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{self.path} cannot be read as a SOMA experiment: {reason}") from error


@cache
def _context(settings: tuple[tuple[str, str], ...]) -> Any:
    """The client's threads and caches, one for all that is opened with the same settings, as TileDB recommends."""
    tiledbsoma = require("tiledbsoma", "soma")
    return tiledbsoma.SOMATileDBContext(tiledb_config={"soma.init_buffer_bytes": BUFFER_BYTES, **dict(settings)})


def is_soma(path: Path | str) -> bool:
    """Return whether a path names a release of the Census, a URI, or a folder that TileDB wrote."""
    return str(path).startswith(CENSUS) or "://" in str(path) or (Path(path).expanduser() / "__group").is_dir()


def _located(path: Path | str) -> tuple[Path | str, dict[str, str]]:
    """Return the location of the data and the settings of TileDB to read it with."""
    if not str(path).startswith(CENSUS):
        return (str(path) if "://" in str(path) else Path(path).expanduser()), {}
    release = _release(str(path).removeprefix(CENSUS))
    bucket = release["soma"]
    return bucket["uri"], {"vfs.s3.region": bucket["s3_region"], "vfs.s3.no_sign_request": "true"}


def _release(name: str) -> dict:
    """The entry of a release in the public list of the Census; a name such as ``stable`` stands for a date."""
    try:
        with urllib.request.urlopen(RELEASES, timeout=30) as answer:
            releases = json.load(answer)
    except (OSError, ValueError) as error:
        message = f"the list of Census releases ({RELEASES}) cannot be read: {error}"
        raise DataError(f"{message}; give the path of a copy on disk", argument="path") from error
    entry = releases.get(name)
    while isinstance(entry, str):
        entry = releases.get(entry)
    if entry is None:
        raise DataError(f"there is no Census release {name}; there are {', '.join(releases)}")
    return entry


def _measurement(path: Path | str, experiment: Any) -> Any:
    if "ms" not in experiment or MEASUREMENT not in experiment.ms:
        found = ", ".join(experiment.ms) if "ms" in experiment else "no measurements, so it is not an experiment"
        raise DataError(f"{path}: the measurement {MEASUREMENT} is needed, it has {found}")
    return experiment.ms[MEASUREMENT]


def _layer(path: Path | str, layers: list[str], wanted: str | None) -> str:
    names = USUAL_LAYERS if wanted is None else (wanted,)
    found = next((name for name in names if name in layers), None)
    if found is None:
        message = f"{path}: X has no layer {' or '.join(names)}; it has {', '.join(layers)}"
        raise DataError(f"{message}; give the one with raw counts as counts_layer", argument="counts_layer")
    return found


def _gene_index(var: pd.DataFrame, ids: np.ndarray) -> pd.Index:
    """Return the names of the genes in the store, or their ids."""
    column = next((name for name in ("var_id", "feature_id") if name in var), None)
    return pd.Index(ids.astype(str) if column is None else var[column].astype(str), dtype=object)


def _known(obs: Any, columns: Iterable[str]) -> dict[str, set]:
    """The values of those columns for which the store keeps a list."""
    for column in columns:
        check_column(pd.DataFrame(columns=list(obs.keys())), column, "filter")
    listed = [column for column in columns if hasattr(obs.schema.field(column).type, "index_type")]
    return {column: set(obs.get_enumeration_values([column])[column].to_pylist()) for column in listed}


def _condition(column: str, values: Sequence) -> str:
    """A condition in the language of TileDB's queries."""
    return "(" + " or ".join(f"attr({column!r}) == {value!r}" for value in values) + ")"
