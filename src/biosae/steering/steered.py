"""Artefacts of a sweep: embeddings of the unedited model and of every setting, and tables of its settings."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem

from biosae.artefacts import atomic_write

from .context import SteeringContext
from .edit_settings import Setting
from .embed import SteeredSamples
from .plan import SteeringPlan
from .steered_files import FORMAT

DESCRIBED = ("method", "chooser", "n_features", "operation", "value", "unit", "seed")
"""Fields of a setting in tables."""


def write_steered(context: SteeringContext, plan: SteeringPlan, steered: SteeredSamples) -> None:
    """Write steered.h5ad, or perturbation.h5ad: the embeddings of a sweep, aligned to features.h5ad.

    Samples that were not embedded are NaN. One embedding is written after the other; memory holds one of them.
    """
    obs, made = context.table.obs, context.table.uns["biosae"]
    origin = {
        "format": FORMAT,
        "sae_hash": made["sae_hash"],
        "features_hash": context.features_hash,
        "model": made["model"],
        "layer": context.layer,
        "samples": list(plan.parts),
        "target": plan.target or "",
        "version": version("biosae"),
        "settings": json.dumps([{"key": key, **setting.row} for key, setting in steered.settings.items()]),
    }
    path = context.folder / ("perturbation.h5ad" if plan.is_perturbation else "steered.h5ad")
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "obs", obs)
        write_elem(file, "var", pd.DataFrame(index=pd.Index([], dtype=str)))
        write_elem(file, "obsm", {})
        for key, rows, embedding in steered.each():
            whole = np.full((len(obs), embedding.shape[1]), np.nan, dtype=np.float32)
            whole[rows] = embedding
            write_elem(file, f"obsm/{key}", whole, dataset_kwargs={"compression": "gzip", "compression_opts": 1})
        write_elem(file, "uns", {"biosae": origin})


def write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Write ``steering/<name>.csv`` of a run folder for each table."""
    for name, table in tables.items():
        with atomic_write(folder / "steering" / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")


def with_settings(table: pd.DataFrame, settings: dict[str, Setting]) -> pd.DataFrame:
    """Return a table keyed by setting with the description of the setting beside each key."""
    rows = [setting.row for setting in settings.values()]
    described = pd.DataFrame({name: [row[name] for row in rows] for name in DESCRIBED}, index=list(settings))
    joined = table.join(described.astype({"n_features": "Int64", "seed": "Int64"}), on="key")
    joined["method"] = joined["method"].fillna(joined["key"])  # the unedited model is not a setting
    return joined[["key", *DESCRIBED, *[column for column in table if column != "key"]]]
