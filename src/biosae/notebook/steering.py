"""Embeddings of cells whose features are edited inside the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anndata
import numpy as np
import torch
from torch import Tensor

from biosae.feature_names import feature_number
from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenBatch
from biosae.progress import progress_bar
from biosae.saes.base import SAE
from biosae.steering.edits import EditableTokens, FeatureEdit

from .encoding import activations, layer_of

TOKENS_PER_BATCH = 16_384


def steer(
    adata: anndata.AnnData,
    model: ModelAdapter,
    sae: SAE,
    features: Mapping[int | str, float],
    operation: str = "clamp",
    *,
    where: str = "all",
    layer: int | None = None,
) -> anndata.AnnData:
    """Edit features inside the forward pass, one at a time, and return the model's embeddings.

    What the SAE does not explain of an activation stays. `biosae.pipeline.steer` has sweeps with baselines.

    Parameters
    ----------
    adata
        Cells with raw counts.
    model, sae
        A model, and an SAE of one of its layers.
    features
        Feature (``12`` or ``"f12"``) to the amount of the operation, in the units of codes.
    operation
        ``clamp`` (to the amount), ``scale`` (by it), ``add`` or ``ablate``.
    where
        ``all`` tokens, or those on which the feature is ``active``.
    layer
        As for `encode`.

    Returns
    -------
    AnnData
        The cells, with ``obsm["original"]`` and an embedding such as ``obsm["f249_clamp_2"]`` for each feature.

    Raises
    ------
    SettingError
        If a feature or the operation does not exist.
    """
    acts = activations(adata, model, layer_of(sae, layer), held_out=None)
    edits = {"original": None}
    for feature, amount in features.items():
        number = feature_number(feature, sae.d_sae)
        edit = FeatureEdit(torch.tensor([number]), operation, torch.tensor([float(amount)]), where)
        edits[f"f{number}_{operation}_{amount:g}"] = edit
    sequences, out = acts.prepared.sequences, anndata.AnnData(obs=adata.obs.copy())
    rows = np.flatnonzero(sequences.lengths > 0)
    with progress_bar("steering", len(rows), "cells") as advance:
        for batch in model.batches(sequences, rows, TOKENS_PER_BATCH):
            bound = [_bound(sae, batch, edit) for edit in edits.values()]
            for name, embedding in zip(edits, model.embed_each(batch, acts.layer, bound), strict=True):
                found = embedding.float().cpu().numpy()
                if name not in out.obsm:
                    out.obsm[name] = np.full((adata.n_obs, found.shape[1]), np.nan, np.float32)
                out.obsm[name][batch.sample.cpu().numpy()] = found
            advance(len(batch.sample))
    return out


def _bound(sae: SAE, batch: TokenBatch, edit: FeatureEdit | None) -> Callable[[Tensor], Tensor]:
    if edit is None:
        return lambda x: x
    n_tokens = batch.content.sum(1)
    sample = batch.sample.repeat_interleave(n_tokens)
    return lambda x: edit(EditableTokens(sae, x, sample))
