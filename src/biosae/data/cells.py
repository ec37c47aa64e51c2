"""Cells from one file or many, in the one form that every model adapter reads, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.errors import DataError, SettingError, require
from biosae.memory import return_freed
from biosae.progress import progress_bar

from .cell_file import CellFile
from .genes import find_gene_names
from .joined_files import FILE, joined_obs, repeated_names, rows_in_files, stems_of
from .obs import Rows, check_chosen, check_column, chosen_values, find_batch_key, find_label_keys
from .soma import SomaExperiment, is_soma
from .text import is_text

MOST_LEVELS = 10_000


@dataclass(frozen=True)
class Cells:
    """Cells ready for a model.

    Attributes
    ----------
    files, rows
        Their files, and for each file the row numbers that are used, ascending.
    obs
        As in the files plus ``n_counts``, the counts of the whole library; its rows are numbered, see ``names``.
    vars
        For each file, its genes: ``ensembl_id`` and ``symbol`` ("" when unknown).
    label_keys
        Columns of ``obs`` to score features against.
    batch_key
        Column of ``obs`` with the donor or batch, or None.
    findings
        Sentences about what was detected in the files.
    kept_genes
        Names of the highly variable genes that are kept, or None for all.
    repeated
        ``(n,) bool`` whether a name is in several files, and gets that of its file appended; None for never.
    """

    files: list[CellFile | SomaExperiment]
    rows: list[Rows]
    obs: pd.DataFrame
    vars: Sequence[pd.DataFrame]
    label_keys: list[str]
    batch_key: str | None
    findings: list[str] = field(default_factory=list)
    kept_genes: pd.Index | None = None
    repeated: np.ndarray | None = None

    def name_blocks(self) -> Iterator[np.ndarray]:
        """Names of the cells in order, as the files have them, some thousand at a time."""
        stems, start = stems_of([file.path for file in self.files]), 0
        for file, rows, stem in zip(self.files, self.rows, stems, strict=True):
            for names in file.names(rows):
                if self.repeated is not None:
                    own = self.repeated[start : start + len(names)]
                    names = np.where(own, names + f"-{stem}", names)
                yield names
                start += len(names)

    @property
    def names(self) -> np.ndarray:
        """``(n,) str`` names of all cells: 60 bytes each, which the files keep."""
        return np.concatenate(list(self.name_blocks()))

    def blocks(self) -> Iterator[anndata.AnnData]:
        """The cells in order, some thousand at a time, each with the genes of its file.

        ``X`` is CSR float32 raw counts. Columns of ``obs`` that are not measured numbers are categorical, with the
        values of all cells as categories.
        """
        levels, start, names = _with_levels(self.obs), 0, self.name_blocks()
        for file, rows, var in zip(self.files, self.rows, self.vars, strict=True):
            kept = slice(None) if self.kept_genes is None else np.flatnonzero(var.index.isin(self.kept_genes))
            for block, counts in file.blocks(rows):
                obs = levels.iloc[start : start + len(block)].set_axis(next(names), axis=0)
                yield anndata.AnnData(counts[:, kept], obs=obs, var=var.iloc[kept])
                start += len(block)

    @property
    def var(self) -> pd.DataFrame:
        """The genes of all files."""
        var = pd.concat({id(var): var for var in self.vars}.values())
        var = var[~var.index.duplicated()]
        return var if self.kept_genes is None else var[var.index.isin(self.kept_genes)]

    @property
    def obsm(self) -> dict[str, np.ndarray]:
        """The UMAP of a single file; those of several have no common axes."""
        if len(self.files) > 1 or self.files[0].umap is None:
            return {}
        return {"X_umap": self.files[0].umap[self.rows[0]]}

    @cached_property
    def adata(self) -> anndata.AnnData:
        """All cells in memory at once, genes that a file lacks as zeros."""
        whole = anndata.concat(list(self.blocks()), join="outer", merge="first", fill_value=0)
        whole = whole[:, self.var.index].copy()
        whole.obs, whole.var = self.obs.set_axis(whole.obs_names, axis=0), self.var.copy()
        whole.obsm.update(self.obsm)
        return whole


def read_cells(
    path: Path | str | Sequence[Path | str],
    *,
    counts_layer: str | None = None,
    gene_column: str | None = None,
    label_keys: list[str] | None = None,
    batch_key: str | None = None,
    n_cells: int | None = None,
    stratify: str | None = None,
    subset_hvg: int | None = None,
    filter: Mapping[str, object] | None = None,
    obs_columns: Sequence[str] | None = None,
    seed: int = 0,
) -> Cells:
    """Read cells of .h5ad and .zarr files and of SOMA experiments; what is detected is listed in ``findings``.

    The counts pass through memory once, for the library sizes, and are not kept.

    Parameters
    ----------
    path
        One file, folder or URI, or several that become one data set; `files.data_paths` finds them by a pattern.
    counts_layer
        Layer with raw counts, ``X`` or ``raw``; by default ``layers["counts"]``, ``X`` or ``raw``, the first that
        holds counts of the most genes.
    gene_column
        Column of ``var`` with gene symbols or Ensembl ids; by default every usual place is tried.
    label_keys, batch_key
        Columns of ``obs``; None detects them.
    n_cells
        Draw this many cells at random with ``seed``.
    stratify
        Column of ``obs`` of which every value keeps its share in that draw.
    subset_hvg
        Keep this many highly variable genes (needs the ``sc`` extra, and all counts in memory).
    filter
        For columns of ``obs`` the value or values of the cells to take; None takes all. A SOMA store picks them itself.
    obs_columns
        Columns of ``obs`` to read; all by default.

    Raises
    ------
    DataError
        If a file is missing, empty, has duplicate ids, no raw counts, or lacks a named column or value.
    """
    paths = [path] if isinstance(path, Path | str) else list(path)
    if not paths:
        raise DataError("path names no file; give one, a list, a pattern or a folder", argument="path")
    if stratify is not None and n_cells is None:
        message = f"stratify {stratify} only applies when cells are drawn; set n_cells as well"
        raise SettingError(message, argument="stratify")
    chosen = {name: chosen_values(wanted) for name, wanted in (filter or {}).items() if wanted is not None}
    files = _opened(paths, counts_layer, chosen, obs_columns)
    genes = {id(file.var): _genes(file.var, gene_column) for file in files}
    vars, gene_findings = zip(*(genes[id(file.var)] for file in files), strict=True)
    obs = joined_obs(files)
    annotated = obs.drop(columns=FILE) if len(files) > 1 else obs
    label_keys = find_label_keys(annotated if label_keys is None else obs, label_keys)
    batch_key, passed_over = find_batch_key(obs, batch_key)
    findings = [*_findings(files, len(obs), vars, gene_findings, label_keys, batch_key), *passed_over]
    repeated = repeated_names(files)
    rows = [range(file.n_cells) for file in files]
    if n_cells is not None:
        drawn = _draw(obs, n_cells, stratify, seed)
        obs = _used_levels(obs.iloc[drawn].reset_index(drop=True))
        repeated = None if repeated is None else repeated[drawn]
        shares = "" if stratify is None else f", every {stratify} in its share"
        findings.append(f"{n_cells:,} cells drawn at random (seed {seed}){shares}")
        rows = rows_in_files(drawn, files)
    obs["n_counts"] = _library_sizes(files, rows)
    n_without = int((obs["n_counts"] == 0).sum())
    if n_without:
        findings.append(f"{n_without:,} of {len(obs):,} cells have no count (empty droplets?)")
    cells = Cells(files, rows, obs, vars, label_keys, batch_key, findings, repeated=repeated)
    return cells if subset_hvg is None else _highly_variable(cells, subset_hvg)


def _opened(paths: list, counts_layer: str | None, chosen: dict, columns: Sequence[str] | None) -> list:
    """Open the files and return those with a cell that fits the filter."""
    files = []
    for path in paths:
        file = (SomaExperiment if is_soma(path) else CellFile)(path, counts_layer, chosen, columns)
        if files and file.var.equals(files[-1].var):
            file.var = files[-1].var  # held once by all files with the same genes
        files.append(file)
    listed = [column for column in chosen if all(column in file.known for file in files)]
    check_chosen(chosen, {column: set().union(*(file.known[column] for file in files)) for column in listed})
    with_cells = [file for file in files if file.n_cells]
    if not with_cells:
        raise DataError(f"no cell of {files[0].path} fits the filter {chosen}", argument="filter")
    return with_cells


def _library_sizes(files: list, rows: list[Rows]) -> np.ndarray:
    """All counts of each cell."""
    sizes, end = np.empty(sum(map(len, rows)), np.float32), 0
    with progress_bar("reading counts", len(sizes), "cells") as advance:
        for file, own in zip(files, rows, strict=True):
            known = file.total_counts()
            for found in (block.sum(1).A1 for _, block in file.blocks(own)) if known is None else [known[own]]:
                sizes[end : end + len(found)] = found
                end += len(found)
                advance(len(found))
            return_freed()
    return sizes


def _genes(var: pd.DataFrame, column: str | None) -> tuple[pd.DataFrame, str]:
    """Return ids and symbols of the genes of a file, and the places where they were found."""
    names = find_gene_names(var, var.index, column)
    return pd.DataFrame({"ensembl_id": names.ensembl_id, "symbol": names.symbol}, index=names.name), names.finding


def _findings(
    files: list[CellFile | SomaExperiment],
    n_cells: int,
    vars: Sequence[pd.DataFrame],
    gene_findings: Sequence[str],
    label_keys: list[str],
    batch_key: str | None,
) -> list[str]:
    places = ", ".join(dict.fromkeys(file.place for file in files))
    n_genes = len(set().union(*({id(var): var.index for var in vars}.values())))
    counted = f"{n_cells:,} cells x {n_genes:,} genes, raw counts from {places}"
    return [
        counted if len(files) == 1 else f"{len(files)} files: {counted}",
        *dict.fromkeys(finding for file in files for finding in file.findings),
        "; ".join(dict.fromkeys(gene_findings)),
        f"labels: {', '.join(label_keys) or 'none'}; donor or batch: {batch_key or 'none'}",
    ]


def _draw(obs: pd.DataFrame, n_cells: int, stratify: str | None, seed: int) -> np.ndarray:
    """Rows of the drawn cells, ascending."""
    if not 1 <= n_cells <= len(obs):
        message = f"n_cells must be between 1 and the {len(obs):,} cells there are, got {n_cells:,}"
        raise SettingError(message, argument="n_cells")
    generator = np.random.default_rng(seed)
    if stratify is None:
        return np.sort(generator.choice(len(obs), n_cells, replace=False))
    check_column(obs, stratify, "stratify")
    stratum = pd.factorize(obs[stratify], use_na_sentinel=False)[0]
    order = generator.permutation(len(obs))
    rank = pd.Series(order).groupby(stratum[order]).cumcount().to_numpy()
    # Each stratum is walked through at an even pace, so that any first part of the walk has the shares of the whole.
    pace = (rank + generator.random(stratum.max() + 1)[stratum[order]]) / np.bincount(stratum)[stratum[order]]
    return np.sort(order[np.argsort(pace, kind="stable")[:n_cells]])


def _used_levels(obs: pd.DataFrame) -> pd.DataFrame:
    used = {name: obs[name].cat.remove_unused_categories() for name in obs.select_dtypes("category")}
    return obs.assign(**used)


def _with_levels(obs: pd.DataFrame) -> pd.DataFrame:
    """Text and whole numbers as categories, so that a part of the rows knows the values of all."""
    levels = obs.copy(deep=False)
    for name in obs:
        if (is_text(obs[name]) or obs[name].dtype.kind in "ib") and obs[name].nunique() <= MOST_LEVELS:
            levels[name] = obs[name].astype("category")
    return levels


def _highly_variable(cells: Cells, n_genes: int) -> Cells:
    adata = cells.adata
    if not 1 <= n_genes <= adata.n_vars:
        message = f"subset_hvg must be between 1 and the {adata.n_vars} genes of the file, got {n_genes}"
        raise SettingError(message, argument="subset_hvg")
    scanpy = require("scanpy", "sc")
    normalised = adata.copy()
    scanpy.pp.normalize_total(normalised, target_sum=1e4)
    scanpy.pp.log1p(normalised)
    scanpy.pp.highly_variable_genes(normalised)
    dispersion = normalised.var["dispersions_norm"].fillna(-np.inf).to_numpy()
    kept = np.sort(np.argsort(-dispersion, kind="stable")[:n_genes])
    findings = [*cells.findings, f"{n_genes:,} highly variable genes kept"]
    return replace(cells, findings=findings, kept_genes=adata.var_names[kept])
