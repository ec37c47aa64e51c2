"""`biosae features`: a trained SAE reads every token; codes stay sparse, pooled per sample they open in scanpy."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from biosae.analysis.score_residues import SPANS
from biosae.artefacts import atomic_write
from biosae.errors import ArtefactError
from biosae.features.encode import encode_features
from biosae.saes import files

from .inputs import Inputs, load_inputs, stored_activations
from .launch import launch
from .runs import open_run, read_config, read_run

logger = logging.getLogger(__name__)

SETTINGS_OF_RUN = ("data", "scfm", "plm", "sae", "seed")


def main() -> None:
    launch("features", features)


def features(cfg: DictConfig) -> Path:
    """Writes features.h5ad and token_codes/ of a run, on the samples it was trained with or on others."""
    with open_run(cfg) as folder:
        cfg = with_settings_of(folder, cfg)
        write_features(cfg, folder, load_inputs(cfg))
    return folder


def with_settings_of(folder: Path, cfg: DictConfig) -> DictConfig:
    """The configuration with data, model and SAE as the run had them, unless the command line names them."""
    said = {override.partition("=")[0].partition(".")[0].lstrip("+~") for override in HydraConfig.get().overrides.task}
    trained = read_config(folder)
    kept = {name: trained[name] for name in SETTINGS_OF_RUN if name not in said and name in trained}
    return OmegaConf.create(OmegaConf.to_container(cfg, resolve=False) | kept)


def write_features(cfg: DictConfig, folder: Path, inputs: Inputs) -> None:
    """Encodes the activations of every sample with the SAE in ``folder``."""
    run = read_run(folder)
    check_same_model(run, inputs)
    sae = files.load(folder, device=inputs.adapter.device)
    store = stored_activations(cfg, inputs, run["model"]["layer"])
    provenance = {"sae_hash": run["sae"]["hash"], "model": run["model"]["name"], "layer": run["model"]["layer"]}
    encode_features(
        sae,
        store,
        obs=samples_table(inputs),
        vocabulary=vocabulary_table(inputs),
        out=folder,
        provenance=provenance,
        obsm={"X_model": store.sample_means()} | inputs.samples.obsm,
    )
    write_spans(folder, inputs)
    logger.info("features in %s", folder / "features.h5ad")


def write_spans(folder: Path, inputs: Inputs) -> None:
    """residues.csv: the annotated sites and domains of the proteins, where there are some."""
    path = folder / SPANS
    if inputs.spans is None:
        path.unlink(missing_ok=True)
        return
    table = inputs.spans.assign(sample=inputs.samples.obs.index[inputs.spans["sample"]])
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False)


def check_same_model(run: dict, inputs: Inputs) -> None:
    """An SAE reads the activations of the model it was trained on, and of no other."""
    if run["model"]["fingerprint"] != inputs.adapter.fingerprint:
        trained, given = run["model"]["name"], inputs.adapter.name
        message = f"this SAE was trained on {trained} ({run['model']['fingerprint']}), not on {given}"
        raise ArtefactError(f"{message} ({inputs.adapter.fingerprint}); use the same scfm=, plm= or data.model=")


def samples_table(inputs: Inputs) -> pd.DataFrame:
    """The samples' annotations with the part each belongs to and its number of tokens."""
    obs = inputs.samples.obs.copy()
    obs["biosae_part"] = pd.Categorical(inputs.split.part)
    obs["biosae_n_tokens"] = inputs.sequences.lengths
    return obs


def vocabulary_table(inputs: Inputs) -> pd.DataFrame:
    """Token ids with the identifier and the name of what they stand for."""
    adapter = inputs.adapter
    n = len(adapter.vocabulary)
    return pd.DataFrame({"token": range(n), "identifier": adapter.vocabulary, "name": adapter.token_names})
