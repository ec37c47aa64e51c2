"""Cells (or proteins) of the page: names, categories, and their place on a UMAP of the input or a t-SNE."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from biosae.artefacts import atomic_write, content_hash
from biosae.errors import ArtefactError

from .page_data import packed
from .run_folder import RunFolder

logger = logging.getLogger(__name__)

MOST_UMAP_CELLS = 20_000
MOST_TSNE_CELLS = 5_000  # t-SNE is about a minute there on two cores, and grows faster than linearly
N_COMPONENTS = 30
N_ITERATIONS = 400  # 250 of them with early exaggeration; 2,638 cells need about 15 s on two cores
SEED = 0
CACHE = "layout.safetensors"
MOST_CATEGORIES = 60  # more colours and rows than that cannot be told apart


@dataclass(frozen=True, eq=False)
class CellMap:
    """The cells that the map shows.

    Attributes
    ----------
    sample
        ``(n,) int64`` rows of the feature table, ascending.
    position
        ``(n, 2) float32``.
    method
        How the positions were made, in words for the reader.
    """

    sample: np.ndarray
    position: np.ndarray
    method: str


def cell_map(table: anndata.AnnData, folder: Path) -> CellMap | None:
    """The map of a feature table; None when it has neither a UMAP nor three embedded samples.

    A t-SNE is kept in ``folder``, where that can be written, and read again as long as features.h5ad stays the same.
    """
    if "X_umap" in table.obsm:
        position = np.asarray(table.obsm["X_umap"], dtype=np.float32)[:, :2]
        sample = _draw(np.flatnonzero(np.isfinite(position).all(axis=1)), MOST_UMAP_CELLS)
        return CellMap(sample, position[sample], "UMAP that came with the data")
    if "X_model" not in table.obsm:
        return None
    embedding = np.asarray(table.obsm["X_model"], dtype=np.float32)
    sample = _draw(np.flatnonzero(np.isfinite(embedding).all(axis=1)), MOST_TSNE_CELLS)
    if len(sample) < 3:
        return None
    return CellMap(sample, _cached_tsne(embedding[sample], folder), "t-SNE of the model's own embedding")


def _draw(samples: np.ndarray, most: int) -> np.ndarray:
    if len(samples) <= most:
        return samples
    return np.sort(np.random.default_rng(SEED).choice(samples, most, replace=False))


def _cached_tsne(embedding: np.ndarray, folder: Path) -> np.ndarray:
    source = content_hash(folder / "features.h5ad")
    try:
        stored = load_file(folder / CACHE)
        if bytes(stored["source"]).decode() == source:
            return stored["position"]
    except (OSError, SafetensorError, KeyError):
        pass  # no cache, or not one of ours: made below
    position = tsne(embedding)
    try:
        with atomic_write(folder / CACHE) as temporary:
            save_file({"position": position, "source": np.frombuffer(source.encode(), np.uint8)}, temporary)
    except ArtefactError as error:
        logger.warning("the map is not kept for the next report: %s", error)
    return position


def tsne(embedding: np.ndarray) -> np.ndarray:
    """``(n, 2) float32`` t-SNE (van der Maaten and Hinton 2008) of the first principal components."""
    n_components = min(N_COMPONENTS, *embedding.shape)
    components = PCA(n_components, random_state=SEED).fit_transform(embedding)
    perplexity = min(30.0, (len(embedding) - 1) / 3)
    method = TSNE(init="pca", perplexity=perplexity, max_iter=N_ITERATIONS, random_state=SEED, n_jobs=2)
    return method.fit_transform(components).astype(np.float32)


def cell_content(run: RunFolder, shown: CellMap | None) -> dict[str, Any]:
    """Names and categories of all samples, and the map of those it shows."""
    obs = run.table.obs
    content: dict[str, Any] = {
        "names": obs.index.astype(str).tolist(),
        "columns": [_categories(name, obs[name]) for name in _columns(run)],
    }
    if shown is not None:
        content["map"] = {"method": shown.method, "sample": packed(shown.sample, "u4")} | _positions(shown.position)
    return content


def _columns(run: RunFolder) -> list[str]:
    data = run.settings["data"]
    wanted = [*run.label_keys, *(data.get("label_keys") or []), data.get("batch_key"), "biosae_part"]
    obs = run.table.obs
    return [name for name in dict.fromkeys(wanted) if name in obs and obs[name].nunique() <= MOST_CATEGORIES]


def _categories(name: str, values: pd.Series) -> dict[str, Any]:
    codes, categories = pd.factorize(values.astype(object), sort=False)
    order = np.argsort([str(category) for category in categories])
    number = np.empty(len(order) + 1, dtype=np.int64)
    number[order] = np.arange(len(order))
    number[-1] = 255  # a missing value
    return {
        "name": name,
        "categories": [str(categories[i]) for i in order],
        "values": packed(number[codes], "u1"),
    }


def _positions(position: np.ndarray) -> dict[str, Any]:
    """The map scaled into a square of 65,536 steps, its shape kept."""
    low = position.min(axis=0)
    extent = float((position.max(axis=0) - low).max()) or 1.0
    steps = np.round((position - low) / extent * 65535)
    return {"x": packed(steps[:, 0], "u2"), "y": packed(steps[:, 1], "u2")}
