"""Axes of what cells express, to compare features with: single genes, their PCA and NMF, and the depth of a cell."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import ConvergenceWarning

from biosae.errors import DataError

from .expression import COUNTS_PER_CELL, opened_expression
from .pool import PooledAxes
from .stored_rows import sparse_blocks

MOST_GENES = 2000  # that vary most over the train cells, as usual before PCA of cells
FIT_CELLS = 20_000
COMPONENTS = 50  # principal components, as scanpy's default
NMF_COMPONENTS = 64  # as many as of activations
NMF_UPDATES = 50


def expression_axes(path: Path, train: np.ndarray, seed: int) -> dict[str, PooledAxes]:
    """Return the expression of cells as sets of non-negative axes, in place of features.

    Parameters
    ----------
    path
        expression.h5ad.
    train
        Ascending rows of the train cells: genes are chosen and PCA and NMF fitted on (at most 20,000 of) them.
    seed
        Of the draw of train cells and the start of PCA and NMF.

    Returns
    -------
    dict
        ``expression genes``: log expression of the 2,000 genes that vary most; ``expression pca`` and
        ``expression nmf`` of them; ``cell depth``: genes detected and mitochondrial share, either side apart.

    Raises
    ------
    DataError
        If fewer than two genes vary over the train cells.
    """
    with opened_expression(path) as (stored, var, n_cells):
        every = np.arange(n_cells)
        chosen = _most_variable(sparse_blocks(stored, train), len(train), len(var))
        mitochondrial = var["symbol"].astype(str).str.upper().str.startswith("MT-").to_numpy()
        genes, depth = [], []
        for block in sparse_blocks(stored, every):
            genes.append(block[:, chosen].tocsr())
            counts = block[:, mitochondrial].tocsr()
            counts.data = np.expm1(counts.data)
            share = np.asarray(counts.sum(1)).ravel() / COUNTS_PER_CELL
            depth.append(np.column_stack([np.diff(block.indptr), share]))
    genes, depth = sparse.vstack(genes, format="csr"), np.concatenate(depth)
    fitted_on = genes[_some(train, seed)]
    return {
        "expression genes": _pooled(genes),
        "expression pca": _pooled(_principal(fitted_on, genes, seed)),
        "expression nmf": _pooled(_parts(fitted_on, genes, seed)),
        "cell depth": _pooled(np.column_stack([depth - depth.min(0), depth.max(0) - depth])),
    }


def _most_variable(blocks, n: int, n_genes: int) -> np.ndarray:
    """Ascending numbers of the genes whose log expression varies most; memory holds one block."""
    total, square = np.zeros(n_genes), np.zeros(n_genes)
    for block in blocks:
        total += np.asarray(block.sum(0), dtype=np.float64).ravel()
        square += np.bincount(block.indices, block.data.astype(np.float64) ** 2, minlength=n_genes)
    variance = square / n - (total / n) ** 2
    varying = np.flatnonzero(variance > 0)
    if len(varying) < 2:
        raise DataError("fewer than two genes vary over the train cells, so expression cannot be a control")
    return np.sort(varying[np.argsort(-variance[varying], kind="stable")[:MOST_GENES]])


def _some(train: np.ndarray, seed: int) -> np.ndarray:
    size = min(FIT_CELLS, len(train))
    return np.sort(np.random.default_rng(seed).choice(train, size, replace=False))


def _principal(fitted_on: sparse.csr_matrix, genes: sparse.csr_matrix, seed: int) -> np.ndarray:
    """Scores of the cells, either side of each component apart."""
    n_components = min(COMPONENTS, *(size - 1 for size in fitted_on.shape))
    pca = PCA(max(1, n_components), svd_solver="randomized", random_state=seed).fit(fitted_on.toarray())
    scores = genes @ pca.components_.T - pca.mean_ @ pca.components_.T
    return np.maximum(np.column_stack([scores, -scores]), 0)


def _parts(fitted_on: sparse.csr_matrix, genes: sparse.csr_matrix, seed: int) -> np.ndarray:
    n_components = min(NMF_COMPONENTS, *fitted_on.shape)
    nmf = NMF(n_components, init="nndsvda", random_state=seed, max_iter=NMF_UPDATES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a control need not converge to the last digit
        nmf.fit(fitted_on)
        return nmf.transform(genes)


def _pooled(values: np.ndarray | sparse.csr_matrix) -> PooledAxes:
    codes = sparse.csr_matrix(values, dtype=np.float32)
    return PooledAxes(codes, codes.getnnz(axis=0) / codes.shape[0])
