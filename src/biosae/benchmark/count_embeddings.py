"""Embeddings from the counts alone, for context: unintegrated PCA, Harmony, scVI."""

from __future__ import annotations

from collections.abc import Sequence

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import PCA

from biosae.errors import SettingError, require

N_GENES = 2000  # the most variable after normalisation, as is usual for integration
N_COMPONENTS = 50
TARGET_SUM = 1e4
LABELS = {
    "pca": "PCA of log-normalised counts, not integrated",
    "harmony": "Harmony on that PCA, told the batches",
    "scvi": "scVI on the counts, told the batches",
}


def count_embeddings(
    counts: anndata.AnnData, batch: np.ndarray, names: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """Return the ``(n, d)`` embedding of every method; PCA always comes first, the others are fitted beside it.

    Parameters
    ----------
    counts
        Raw counts in ``X``.
    batch
        ``(n,)`` text.
    names
        Some of ``pca``, ``harmony``, ``scvi``.

    Raises
    ------
    SettingError
        If a name is unknown.
    MissingExtraError
        If its package is not installed.
    """
    check_methods(names)
    variable, normalised = variable_genes(sparse.csr_matrix(counts.X))
    found = {"pca": pca(normalised, seed)}
    if "harmony" in names:
        found["harmony"] = harmony(found["pca"], batch, seed)
    if "scvi" in names:
        found["scvi"] = scvi(sparse.csr_matrix(counts.X)[:, variable], batch, seed)
    return found


def check_methods(names: Sequence[str]) -> None:
    """Raise before any work when a method is unknown or not installed."""
    if unknown := sorted(set(names) - set(LABELS)):
        raise SettingError(f"context takes {', '.join(LABELS)}, got {unknown[0]}", argument="benchmark.context")
    for name, package, extra in (("harmony", "harmonypy", "integration"), ("scvi", "scvi", "scvi")):
        if name in names:
            require(package, extra)


def variable_genes(counts: sparse.csr_matrix) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Return the sorted columns of the `N_GENES` most variable genes, and their log-normalised values.

    Every cell is scaled to `TARGET_SUM` counts, then ``log(1 + x)``; the variance is taken of these values.
    """
    depth = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    normalised = sparse.diags(TARGET_SUM / depth).dot(counts).tocsr().astype(np.float32)
    normalised.data = np.log1p(normalised.data)
    mean = np.asarray(normalised.mean(axis=0)).ravel()
    variance = np.asarray(normalised.multiply(normalised).mean(axis=0)).ravel() - mean**2
    chosen = np.sort(np.argsort(-variance, kind="stable")[:N_GENES])
    return chosen, normalised[:, chosen]


def pca(values: sparse.csr_matrix, seed: int) -> np.ndarray:
    """Return the scores on the first principal components, ``(n, 50)``; fewer for small data."""
    n = min(N_COMPONENTS, *(size - 1 for size in values.shape))
    return PCA(n, svd_solver="covariance_eigh", random_state=seed).fit_transform(values.toarray())


def harmony(components: np.ndarray, batch: np.ndarray, seed: int) -> np.ndarray:
    """Move the components by Harmony (Korsunsky et al. 2019, Nat. Methods 16:1289) with its defaults."""
    harmonypy = require("harmonypy", "integration")
    table = pd.DataFrame({"batch": batch})
    return np.asarray(harmonypy.run_harmony(components, table, "batch", random_state=seed, verbose=False).Z_corr)


def scvi(counts: sparse.csr_matrix, batch: np.ndarray, seed: int) -> np.ndarray:
    """Return the latent means of scVI (Lopez et al. 2018, Nat. Methods 15:1053) with its defaults, ``(n, 10)``."""
    package = require("scvi", "scvi")
    package.settings.seed = seed
    cells = anndata.AnnData(counts.astype(np.float32), obs=pd.DataFrame({"batch": pd.Categorical(batch)}))
    cells.obs_names = [str(row) for row in range(cells.n_obs)]
    package.model.SCVI.setup_anndata(cells, batch_key="batch")
    model = package.model.SCVI(cells)
    model.train(accelerator="cpu", enable_progress_bar=False, logger=None)
    return np.asarray(model.get_latent_representation(), dtype=np.float32)
