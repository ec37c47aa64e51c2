"""Planted embeddings of 240 cells: 3 batches x 4 labels, 20 cells each, and a run folder around them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from biosae.artefacts import content_hash

BATCHES, LABELS, PER_STRATUM, D = ("b0", "b1", "b2"), ("B", "Mono", "NK", "T"), 20, 8


@dataclass(frozen=True)
class Planted:
    """``embed(batch_shift)`` places labels 10 apart and batches ``batch_shift`` apart, with unit noise."""

    batch: np.ndarray
    label: np.ndarray

    def embed(self, batch_shift: float, label_shift: float = 10.0, seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(size=(len(self.batch), D))
        where = np.zeros_like(noise)
        where[:, :4] += label_shift * np.eye(4)[np.searchsorted(LABELS, self.label)]
        where[:, 4:7] += batch_shift * np.eye(3)[np.searchsorted(BATCHES, self.batch)]
        return (noise + where).astype(np.float32)


@pytest.fixture(scope="session")
def planted() -> Planted:
    pairs = [(b, name) for b in BATCHES for name in LABELS for _ in range(PER_STRATUM)]
    return Planted(*(np.array(column) for column in zip(*pairs, strict=True)))


@pytest.fixture
def run_folder(planted, tmp_path) -> Path:
    """features.h5ad and steered.h5ad with one good setting, one that is drawn with two seeds, and centring."""
    n = len(planted.batch)
    parts = np.array(["test"] * n + ["train"] * 60)
    obs = pd.DataFrame({"batch": [*planted.batch, *["b0"] * 60], "cell_type": [*planted.label, *["B"] * 60]})
    obs["biosae_part"] = parts
    obs.index = [f"cell{i}" for i in range(len(obs))]
    anndata.AnnData(np.zeros((len(obs), 1), dtype=np.float32), obs=obs).write_h5ad(tmp_path / "features.h5ad")
    embeddings = {"original": 10.0, "s000": 0.0, "s001": 10.0, "s002": 11.0, "s003": 0.5}
    obsm = {}
    for seed, (key, shift) in enumerate(embeddings.items()):
        obsm[key] = np.vstack([planted.embed(shift, seed=seed), np.full((60, D), np.nan, dtype=np.float32)])
    settings = [setting("s000", "sae", 10), setting("s001", "matched_features", 10, 0)]
    settings += [setting("s002", "matched_features", 10, 1), setting("s003", "centring", None)]
    described = {"format": 1, "features_hash": content_hash(tmp_path / "features.h5ad"), "sae_hash": "0" * 16}
    described |= {"model": "toy", "layer": 1, "samples": ["test"], "settings": json.dumps(settings)}
    steered = anndata.AnnData(obs=obs, obsm=obsm, uns={"biosae": described})
    steered.write_h5ad(tmp_path / "steered.h5ad")
    return tmp_path


def setting(key: str, method: str, n_features: int | None, seed: int | None = None) -> dict:
    """A setting as `biosae steer` describes it."""
    edits = n_features is not None
    return {
        "key": key, "method": method, "chooser": "label:batch/ami" if method == "sae" else None,
        "n_features": n_features, "operation": "ablate" if edits else None, "value": 0.0 if edits else None,
        "unit": "scale" if edits else None, "where": "all" if edits else None, "error": "keep" if edits else None,
        "seed": seed, "features": [1, 2] if edits else None, "label": f"{method} {seed}",
    }  # fmt: skip
