"""expression.h5ad: log-normalised expression of all genes of the cells, for scores that ask what cells express."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset, write_elem
from scipy import sparse

from biosae.artefacts import atomic_write, check_origin, damaged

from .origin import FORMAT, MADE_BY, read_uns_record
from .stored_rows import opened, sparse_blocks, sparse_rows

EXPRESSION = "expression.h5ad"
COUNTS_PER_CELL = 1e4
GENE_COLUMNS = ("identifier", "symbol", "token")


def log_normalised(counts: sparse.csr_matrix, library: np.ndarray) -> sparse.csr_matrix:
    """Return ``log(1 + counts per 10,000)``, as scanpy's ``normalize_total`` and ``log1p`` do.

    Parameters
    ----------
    counts
        ``(n, n_genes)`` raw counts.
    library
        ``(n,)`` counts of the whole cell, also of genes that are left out here.
    """
    out = sparse.csr_matrix(counts, dtype=np.float32, copy=True)
    per_cell = COUNTS_PER_CELL / np.maximum(np.asarray(library, dtype=np.float64), 1)
    out.data = np.log1p(out.data * np.repeat(per_cell, np.diff(out.indptr))).astype(np.float32)
    return out


def write_expression(
    path: Path, blocks: Iterable[sparse.csr_matrix], genes: pd.DataFrame, samples: pd.Index, activations_hash: str
) -> None:
    """Write expression.h5ad from blocks of consecutive cells; memory holds one block at a time.

    Parameters
    ----------
    blocks
        ``(n, n_genes)`` log-normalised expression.
    genes
        One row per gene: ``identifier``, ``symbol`` ("" when unknown) and ``token``, its vocabulary id or -1.
    samples
        Names of the cells.
    activations_hash
        Of the activations that the features of these cells are of.
    """
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for block in blocks:
            block.sort_indices()
            if "X" in file:
                sparse_dataset(file["X"]).append(block)
            else:
                write_elem(file, "X", block, dataset_kwargs={"compression": "gzip", "compression_opts": 1})
        write_elem(file, "obs", pd.DataFrame(index=samples))
        write_elem(file, "var", genes[list(GENE_COLUMNS)])
        made = {"format": FORMAT, "activations_hash": activations_hash, "unit": "log(1 + counts per 10,000)"}
        write_elem(file, "uns", {"biosae": made})


def read_expression(path: Path, features: anndata.AnnData, rows: np.ndarray | None = None) -> anndata.AnnData:
    """Return the expression of the cells of a feature table.

    Parameters
    ----------
    features
        The feature table, of all cells; its matrices are not used.
    rows
        ``(n,)`` ascending rows of the cells to read; None reads all.

    Raises
    ------
    ArtefactError
        If it is damaged, of a newer format, or of other cells.
    """
    made = read_uns_record(path, {"activations_hash": str}, FORMAT, MADE_BY)
    expected = features.uns["biosae"].get("activations_hash", made["activations_hash"])
    check_origin(path, made["activations_hash"], "features.h5ad", expected, MADE_BY)
    with opened(path) as file:
        obs, var, n = read_elem(file["obs"]), read_elem(file["var"]), features.n_obs
        if len(obs) != n or tuple(file["X"].attrs["shape"]) != (n, len(var)):
            raise damaged(path, f"it has {len(obs):,} cells, features.h5ad {n:,}", MADE_BY)
        if lacking := [name for name in GENE_COLUMNS if name not in var]:
            raise damaged(path, f"it lacks {', '.join(lacking)}", MADE_BY)
        obs = obs if rows is None else obs.iloc[rows]
        return anndata.AnnData(sparse_rows(file["X"], rows), obs=obs, var=var, uns={"biosae": made})


def check_expression(path: Path, activations_hash: str) -> None:
    """Raise an ArtefactError unless expression.h5ad is of the cells of these activations."""
    made = read_uns_record(path, {"activations_hash": str}, FORMAT, MADE_BY)
    check_origin(path, made["activations_hash"], "the activations", activations_hash, MADE_BY)


def expressing_cells(path: Path) -> np.ndarray:
    """Return the number of cells that express each gene, ``(n_genes,) int64``; memory holds one block of cells."""
    with opened(path) as file:
        n_cells, n_genes = file["X"].attrs["shape"]
        blocks = sparse_blocks(file["X"], np.arange(n_cells))
        return sum((np.bincount(block.indices, minlength=n_genes) for block in blocks), np.zeros(n_genes, np.int64))


@contextmanager
def opened_expression(path: Path) -> Iterator[tuple[h5py.Group, pd.DataFrame, int]]:
    """Open the matrix of expression.h5ad for reading in blocks, with its genes and its number of cells."""
    with opened(path) as file:
        yield file["X"], read_elem(file["var"]), int(file["X"].attrs["shape"][0])
