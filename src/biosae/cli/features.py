"""`biosae features`: a trained SAE reads every token; codes stay sparse, pooled per sample they open in scanpy."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from biosae.analysis.residues.scores import SPANS
from biosae.artefacts import atomic_write
from biosae.distributed.processes import current_group
from biosae.errors import ArtefactError, SettingError
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
    """The configuration with data, model and SAE as the run had them, but for what the command line names.

    A group that it chooses (``data=h5ad``) is taken as a whole, of others single settings (``data.n_cells=50``).
    """
    said = [word.partition("=")[0].lstrip("+") for word in HydraConfig.get().overrides.task]
    chosen = {key.partition("/")[0] for key in said if "." not in key}
    trained = read_config(folder)
    for key in said:
        if "." in key and key.partition(".")[0] in SETTINGS_OF_RUN:
            OmegaConf.update(trained, key, OmegaConf.select(cfg, key), force_add=True)
    kept = {name: trained[name] for name in SETTINGS_OF_RUN if name not in chosen and name in trained}
    return OmegaConf.create(OmegaConf.to_container(cfg, resolve=False) | kept)


def write_features(cfg: DictConfig, folder: Path, inputs: Inputs) -> None:
    """Encodes the activations of every sample with the SAE in ``folder``."""
    run = read_run(folder)
    check_same_model(run, inputs)
    sae = files.load(folder, device=inputs.adapter.device)
    store, group = stored_activations(cfg, inputs, run["model"]["layer"]), current_group()
    provenance = {"sae_hash": run["sae"]["hash"], "model": run["model"]["name"], "layer": run["model"]["layer"]}
    encode_features(
        sae,
        store,
        obs=samples_table(inputs, trained_on(folder)),
        vocabulary=vocabulary_table(inputs),
        out=folder,
        provenance=provenance,
        obsm={"X_model": store.sample_means(folder)} | inputs.samples.obsm if group.is_first else {},
        group=group,
    )
    if not group.is_first:
        return
    write_spans(folder, inputs)
    logger.info("features in %s", folder / "features.h5ad")


def write_spans(folder: Path, inputs: Inputs) -> None:
    """residues.csv: the annotated sites and domains of the proteins, where there are some."""
    path = folder / SPANS
    if inputs.spans is None:
        path.unlink(missing_ok=True)
        return
    table = inputs.spans.assign(sample=inputs.samples.names[inputs.spans["sample"]])
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False)


def check_same_model(run: dict, inputs: Inputs) -> None:
    """An SAE reads the activations of the model it was trained on, and of no other."""
    if run["model"]["fingerprint"] != inputs.adapter.fingerprint:
        trained, given = run["model"]["name"], inputs.adapter.name
        message = f"this SAE was trained on {trained} ({run['model']['fingerprint']}), not on {given}"
        raise ArtefactError(f"{message} ({inputs.adapter.fingerprint}); use the same scfm=, plm= or data.model=")


def samples_table(inputs: Inputs, trained: set[str]) -> pd.DataFrame:
    """The samples' annotations with the part each belongs to and its number of tokens.

    A sample with the name of one that the SAE was trained on belongs to ``train`` whatever this split says, which
    may be of another seed or of other files.

    Raises
    ------
    SettingError
        If that leaves no sample to choose on or to report on.
    """
    obs, part = inputs.samples.named_obs(), inputs.split.part.astype(object)
    leaks = obs.index.isin(trained) & (part != "train")
    if leaks.any():
        part[leaks] = "train"
        logger.warning("%d held-out samples are not: the SAE was trained on samples of their names", leaks.sum())
    lacking = [name for name in ("select", "test") if name not in part]
    if lacking:
        message = f"the SAE was trained on every sample of the part {' and of '.join(lacking)}"
        raise SettingError(f"{message}; leave seed and data.split as they were when it was trained")
    obs["biosae_part"] = pd.Categorical(part)
    obs["biosae_n_tokens"] = inputs.sequences.lengths
    return obs


def trained_on(folder: Path) -> set[str]:
    """Names of the samples that the run's SAE was trained on.

    Raises
    ------
    ArtefactError
        If split.csv is missing or damaged.
    """
    path = folder / "split.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return set(table.loc[table["part"] == "train", "sample"])
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); train again with `biosae train`") from error


def vocabulary_table(inputs: Inputs) -> pd.DataFrame:
    """Token ids with the identifier and the name of what they stand for."""
    adapter = inputs.adapter
    n = len(adapter.vocabulary)
    return pd.DataFrame({"token": range(n), "identifier": adapter.vocabulary, "name": adapter.token_names})
