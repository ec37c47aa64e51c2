"""Geometry of the decoder directions: neighbours, clusters, a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from scipy import sparse

from biosae.errors import ArtefactError, require

SAME_DIRECTION = 0.7  # cosine from which two features count as one cluster (as in stability)
N_NEIGHBOURS = 10
_BLOCK = 2048


def read_decoder(path: Path) -> np.ndarray:
    """``(d_sae, d_in) float32`` unit decoder rows of ``sae.safetensors``.

    Raises
    ------
    ArtefactError
        If the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return file.get_tensor("W_dec")
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); make it with the train stage") from error


def geometry_scores(W_dec: np.ndarray, embedding: np.ndarray | None, n_components: int = 50) -> pd.DataFrame:
    """One row per feature: the columns of ``geometry`` in docs/formats.md.

    Parameters
    ----------
    W_dec
        ``(d_sae, d_in)`` unit rows.
    embedding
        ``(n_samples, d_in)`` the model's sample embeddings; rows with NaN are left out. None
        when the SAE reads a space of its own: the energy is then undefined. The share of
        a feature's direction inside their first ``n_components`` principal components tells features
        along which samples differ from features of single tokens.
    """
    nearest, cosine, cluster = _nearest_and_clusters(W_dec)
    columns = {
        "nearest": nearest,
        "nearest_cosine": cosine,
        "cluster": cluster,
        "cluster_size": np.bincount(cluster)[cluster],
        "embedding_energy": np.nan if embedding is None else _energy(W_dec, embedding, n_components),
    }
    return pd.DataFrame(columns).rename_axis("feature")


def _energy(W_dec: np.ndarray, embedding: np.ndarray, n_components: int) -> np.ndarray:
    return subspace_energy(W_dec, principal_axes(embedding, n_components))


def subspace_energy(W_dec: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """``(d_sae,)`` squared length of each unit row inside the span of ``(r, d_in)`` orthonormal axes, 0 to 1."""
    return ((W_dec @ axes.T) ** 2).sum(axis=1)


def principal_axes(embedding: np.ndarray, n_components: int) -> np.ndarray:
    """``(r, d_in)`` first principal axes, at most as many as the embeddings have dimensions of their own."""
    known = embedding[~np.isnan(embedding).any(axis=1)].astype(np.float64)
    _, lengths, axes = np.linalg.svd(known - known.mean(axis=0), full_matrices=False)
    n_own = int((lengths > 1e-10 * lengths.max(initial=0)).sum())
    return axes[: min(n_components, n_own)]


def decoder_map(W_dec: np.ndarray, seed: int) -> np.ndarray:
    """``(d_sae, 2)`` UMAP of the decoder rows by cosine distance (extra ``sc``)."""
    umap = require("umap", extra="sc")
    n_neighbors = min(15, len(W_dec) - 1)
    return umap.UMAP(metric="cosine", n_neighbors=n_neighbors, random_state=seed, n_jobs=1).fit_transform(W_dec)


def _nearest_and_clusters(W_dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest other feature, its cosine, and clusters linked by cosines of at least `SAME_DIRECTION`."""
    nearest = np.zeros(len(W_dec), dtype=np.int64)
    cosine = np.zeros(len(W_dec))
    links = []
    for first in range(0, len(W_dec), _BLOCK):
        block = W_dec[first : first + _BLOCK] @ W_dec.T  # (block, d_sae)
        itself = np.arange(len(block))
        block[itself, first + itself] = -np.inf
        chosen = block.argmax(axis=1)
        nearest[first : first + _BLOCK] = chosen
        # Not the product's entry, whose last digits depend on how many threads made it.
        cosine[first : first + _BLOCK] = (W_dec[first + itself].astype(np.float64) * W_dec[chosen]).sum(axis=1)
        links.append(sparse.csr_matrix(block >= SAME_DIRECTION))
    _, cluster = sparse.csgraph.connected_components(sparse.vstack(links), directed=False)
    return nearest, cosine, cluster


def unit_rows(W_dec: np.ndarray) -> np.ndarray:
    """The rows with norm 1; a row of zeros stays one."""
    norm = np.linalg.norm(W_dec, axis=1, keepdims=True)
    return W_dec / np.maximum(norm, np.finfo(W_dec.dtype).tiny)


def nearest_features(directions: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the features nearest by decoder cosine to each of ``first`` to ``last - 1``, and the cosines.

    Parameters
    ----------
    directions
        ``(d_sae, d_in)`` unit rows.

    Returns
    -------
    Numbers and cosines, each ``(last - first, n)``, nearest first; n is `N_NEIGHBOURS` or all others.
    """
    n = min(N_NEIGHBOURS, len(directions) - 1)
    rows = np.arange(first, last)
    cosine = directions[first:last] @ directions.T  # (block, d_sae)
    cosine[rows - first, rows] = -np.inf
    nearest = np.argpartition(-cosine, n - 1, axis=1)[:, :n]
    nearest = np.take_along_axis(nearest, np.argsort(-np.take_along_axis(cosine, nearest, 1), axis=1), 1)
    return nearest, np.take_along_axis(cosine, nearest, 1)
