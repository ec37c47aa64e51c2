"""A foundation model with the SAE of one of its layers and the samples that both read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np

from biosae.artefacts import settings_hash
from biosae.errors import ArtefactError
from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences
from biosae.saes.base import SAE

from .edits import TokenEdit, unedited
from .embed import SteeredEmbeddings
from .steered import ORIGINAL


@dataclass(frozen=True, eq=False)
class SteeringContext:
    """What is steered.

    Attributes
    ----------
    sequences
        The samples of ``table`` as the model's tokens, in the same order.
    table
        features.h5ad of the SAE.
    layer
        Counted from 0.
    """

    adapter: ModelAdapter
    sae: SAE
    sequences: TokenSequences
    table: anndata.AnnData
    layer: int
    tokens_per_batch: int

    def embeddings(self, folder: Path, samples: np.ndarray, edits: Mapping[str, TokenEdit]) -> SteeredEmbeddings:
        """The samples unedited (`ORIGINAL`) and under every edit, computed unless they are in the folder.

        Edits are told apart by their names, so that a name must say all that decides the edit.
        """
        found = SteeredEmbeddings(folder / settings_hash({"samples": samples.tolist()}), samples)
        with_original = {ORIGINAL: unedited, **edits}
        found.compute(self.adapter, self.sae, self.sequences, self.layer, with_original, self.tokens_per_batch)
        return found


def check_chain(run: dict, table: anndata.AnnData, names: np.ndarray, sae: SAE, adapter: ModelAdapter) -> None:
    """Raises `ArtefactError` unless run, features, SAE, samples and model belong together.

    Parameters
    ----------
    run
        Content of run.json.
    names
        Names of the samples that were read.
    """
    made = table.uns["biosae"]
    if made["sae_hash"] != run["sae"]["hash"]:
        raise ArtefactError("features.h5ad was made with another SAE; make it again with `biosae features`")
    if int(made["layer"]) != run["model"]["layer"]:
        message = f"the features are of layer {made['layer']}, the SAE was trained on layer {run['model']['layer']}"
        raise ArtefactError(f"{message}; make them again with `biosae features`")
    if sae.d_in != adapter.d_model or run["model"]["layer"] >= adapter.n_layers:
        message = f"the SAE reads layer {run['model']['layer']} of width {sae.d_in}, but {adapter.name} has"
        raise ArtefactError(f"{message} {adapter.n_layers} layers of width {adapter.d_model}; use the model of the run")
    if list(table.obs_names) != list(names):
        message = f"features.h5ad holds {table.n_obs} other samples than the {len(names)} that were read"
        raise ArtefactError(f"{message}; make it again with `biosae features` and the same data=")
