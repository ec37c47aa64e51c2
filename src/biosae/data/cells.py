"""Cells from an .h5ad file, in the one form that every model adapter reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.errors import DataError, SettingError, require

from .genes import GeneNames, find_gene_names
from .matrix import find_counts
from .obs import find_batch_key, find_label_keys


@dataclass(frozen=True)
class Cells:
    """Cells ready for a model.

    Attributes
    ----------
    adata
        ``X`` CSR float32 raw counts; ``var["ensembl_id"]`` and ``var["symbol"]`` ("" when unknown);
        ``obs`` as in the file plus ``n_counts``, the counts of the whole library.
    label_keys
        Columns of ``obs`` to score features against.
    batch_key
        Column of ``obs`` with the donor or batch, or None.
    findings
        What was detected in the file, one readable sentence each.
    """

    adata: anndata.AnnData
    label_keys: list[str]
    batch_key: str | None
    findings: list[str]


def read_cells(
    path: Path | str,
    *,
    counts_layer: str | None = None,
    gene_column: str | None = None,
    label_keys: list[str] | None = None,
    batch_key: str | None = None,
    n_cells: int | None = None,
    subset_hvg: int | None = None,
    seed: int = 0,
) -> Cells:
    """Cells of an .h5ad file; what is not said is detected and reported in ``findings``.

    Parameters
    ----------
    counts_layer
        Layer with raw counts; by default ``layers["counts"]``, ``raw`` or ``X``, the first that
        holds counts.
    gene_column
        Column of ``var`` with gene symbols or Ensembl ids; by default every usual place is tried.
    label_keys, batch_key
        Columns of ``obs``; None detects them.
    n_cells
        Draw this many cells at random with ``seed``.
    subset_hvg
        Keep this many highly variable genes (needs the ``sc`` extra).

    Raises
    ------
    DataError
        If the file is missing, empty, has duplicate ids, no raw counts, or lacks a named column.
    """
    source = open_h5ad(path)
    _check_shape_and_ids(source, path)
    counts, place = find_counts(source, counts_layer)
    names = find_gene_names(source.var, source.var_names, gene_column)
    label_keys = find_label_keys(source.obs, label_keys)
    batch_key = find_batch_key(source.obs, batch_key)
    adata = _canonical(source, counts, names)
    findings = [f"{adata.n_obs:,} cells x {adata.n_vars:,} genes, raw counts from {place}", names.finding]
    findings.append(f"labels: {', '.join(label_keys) or 'none'}; donor or batch: {batch_key or 'none'}")
    if n_cells is not None:
        adata = _draw(adata, n_cells, seed)
        findings.append(f"{n_cells:,} cells drawn at random (seed {seed})")
    if subset_hvg is not None:
        adata = _highly_variable(adata, subset_hvg)
        findings.append(f"{subset_hvg:,} highly variable genes kept")
    return Cells(adata, label_keys, batch_key, findings)


def open_h5ad(path: Path | str) -> anndata.AnnData:
    """The AnnData in a file, or one clear line why there is none."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"{path} does not exist or is not a file; give the path of an .h5ad as data.path=")
    try:
        return anndata.read_h5ad(path)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} cannot be read as .h5ad: {reason}") from error


def _check_shape_and_ids(adata: anndata.AnnData, path: Path | str) -> None:
    if 0 in adata.shape:
        raise DataError(f"{path} holds {adata.n_obs} cells x {adata.n_vars} genes; nothing to do with an empty matrix")
    repeated = adata.obs_names[adata.obs_names.duplicated()]
    if len(repeated):
        message = f"{len(repeated)} cell ids occur more than once (for example {repeated[0]}); "
        raise DataError(message + "make them unique with adata.obs_names_make_unique()")


def _canonical(source: anndata.AnnData, counts: sparse.csr_matrix, names: GeneNames) -> anndata.AnnData:
    obs = source.obs.copy()
    obs["n_counts"] = np.asarray(counts.sum(1)).ravel()
    var = pd.DataFrame({"ensembl_id": names.ensembl_id, "symbol": names.symbol}, index=source.var_names)
    adata = anndata.AnnData(counts, obs=obs, var=var)
    if "X_umap" in source.obsm:
        adata.obsm["X_umap"] = np.asarray(source.obsm["X_umap"])
    return adata


def _draw(adata: anndata.AnnData, n_cells: int, seed: int) -> anndata.AnnData:
    if not 1 <= n_cells <= adata.n_obs:
        raise SettingError(f"data.n_cells must be between 1 and the {adata.n_obs} cells of the file, got {n_cells}")
    rows = np.random.default_rng(seed).choice(adata.n_obs, n_cells, replace=False)
    return adata[np.sort(rows)].copy()


def _highly_variable(adata: anndata.AnnData, n_genes: int) -> anndata.AnnData:
    if not 1 <= n_genes <= adata.n_vars:
        message = (
            f"data.preprocess.subset_hvg must be between 1 and the {adata.n_vars} genes of the file, got {n_genes}"
        )
        raise SettingError(message)
    scanpy = require("scanpy", "sc")
    normalised = adata.copy()
    scanpy.pp.normalize_total(normalised, target_sum=1e4)
    scanpy.pp.log1p(normalised)
    scanpy.pp.highly_variable_genes(normalised)
    dispersion = normalised.var["dispersions_norm"].fillna(-np.inf).to_numpy()
    kept = np.sort(np.argsort(-dispersion, kind="stable")[:n_genes])
    return adata[:, kept].copy()
