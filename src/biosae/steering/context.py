"""A foundation model with the SAE of one of its layers and the samples that both read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import class_names
from biosae.errors import ArtefactError
from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences
from biosae.saes.base import SAE


@dataclass(frozen=True, eq=False)
class Column:
    """A column of obs for some samples: its ``name``, and ``(n,)`` the group of each sample, None where missing."""

    name: str
    group: np.ndarray


@dataclass(frozen=True, eq=False)
class SteeringContext:
    """Everything that a sweep of edits works on.

    Attributes
    ----------
    sequences
        The samples of ``table`` as the model's tokens, in the same order.
    table
        features.h5ad of the SAE.
    layer
        Counted from 0.
    folder
        The SAE's run: scores are read there, results are written there.
    cache
        Folder that keeps embeddings between sweeps, of this model, SAE, table and tokens alone.
    features_hash
        Content hash of features.h5ad.
    label_keys, batch_key
        Columns of obs.
    """

    adapter: ModelAdapter
    sae: SAE
    sequences: TokenSequences
    table: anndata.AnnData
    layer: int
    tokens_per_batch: int
    folder: Path
    cache: Path
    features_hash: str
    label_keys: tuple[str, ...]
    batch_key: str | None

    def column(self, name: str | None, rows: np.ndarray) -> Column | None:
        """Return a column of obs for some rows; None where there is no such column to read."""
        return None if name is None else Column(name, class_names(self.table.obs[name])[rows])

    def companion_label(self, target: str | None) -> str | None:
        """Return the label that should survive while the groups of ``target`` are brought together."""
        return companion_label(self.table.obs, self.label_keys, self.batch_key, target)


def companion_label(
    obs: pd.DataFrame, label_keys: Sequence[str], batch_key: str | None, target: str | None = None
) -> str | None:
    """Return the first label, other than batch and target, that can be kept apart while batches are mixed.

    A label that is nested with the batch (a condition, a protocol, a donor) cannot. Columns that the samples lack are
    left for their readers to refuse.
    """
    free = (name for name in label_keys if name not in (batch_key, target))
    return next((name for name in free if not _is_nested_with_batch(obs, name, batch_key)), None)


def is_nested(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether one column of names determines the other, over the samples that have both (None is missing)."""
    pairs = pd.DataFrame({"one": one, "other": other}).dropna().drop_duplicates()
    return not (pairs["one"].duplicated().any() and pairs["other"].duplicated().any())


def _is_nested_with_batch(obs: pd.DataFrame, name: str, batch_key: str | None) -> bool:
    return name in obs and batch_key in obs and is_nested(class_names(obs[name]), class_names(obs[batch_key]))


def check_chain(run: dict, table: anndata.AnnData, names: np.ndarray, sae: SAE, adapter: ModelAdapter) -> None:
    """Raise `ArtefactError` unless run, features, SAE, samples and model belong together.

    Parameters
    ----------
    run
        Content of run.json.
    names
        Names of the samples that were read.
    """
    made, layer = table.uns["biosae"], run["model"]["layer"]
    if made["sae_hash"] != run["sae"]["hash"]:
        raise ArtefactError("features.h5ad was made with another SAE; make it again with the features stage")
    if int(made["layer"]) != layer:
        message = f"the features are of layer {made['layer']}, the SAE was trained on layer {layer}"
        raise ArtefactError(f"{message}; make them again with the features stage")
    if sae.d_in != adapter.d_model or layer >= adapter.n_layers:
        message = f"the SAE reads layer {layer} of width {sae.d_in}, but {adapter.name} has {adapter.n_layers} layers"
        raise ArtefactError(f"{message} of width {adapter.d_model}; use the model of the run")
    if list(table.obs_names) != list(names):
        message = f"features.h5ad holds {table.n_obs} other samples than the {len(names)} that were read"
        raise ArtefactError(f"{message}; make it again from the same samples with the features stage")
