"""The controls of a run: simpler axes, an SAE with a frozen decoder and SAEs of random hosts, scored like its own."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from biosae.activations.store import ActivationStore
from biosae.analysis.controls.axes import analyze_controls, comparable_labels
from biosae.artefacts import read_json, write_json
from biosae.errors import ArtefactError, SettingError
from biosae.features.controls import AtL0, fit_controls, pool_axes, some_tokens
from biosae.features.pool import PooledAxes
from biosae.features.table import read_table
from biosae.features.token_codes import TokenCodes
from biosae.pl.controls import controls as draw
from biosae.saes import files
from biosae.saes.base import SAE
from biosae.training.trainer import Trainer, TrainingRun

from .inputs import Inputs, load_inputs, load_model
from .runs import read_config, read_run
from .train import build_sae, sources

logger = logging.getLogger(__name__)

HOSTS = {"cells": "scfm", "proteins": "plm"}
"""Kind of data -> configuration group of the model that reads it; a file of embeddings has none."""

RANDOM_HOSTS = {"sae, random layers": "blocks", "sae, random model": "all"}
"""Name of the control -> ``random_init`` of its host."""

FROZEN = {"sae": {"architecture": {"tied_decoder": False}}}
"""A tied encoder would be frozen with the decoder."""


def write_controls(folder: Path, labels: dict, n_permutations: int, seed: int) -> pd.DataFrame:
    """controls.csv and controls.svg: what other axes recover, by the same code, splits and nulls."""
    codes, store = TokenCodes(folder / "token_codes"), activations_of(folder)
    if codes.activations_hash != store.hash:
        message = "the features are of other samples than the SAE was trained on; "
        raise ArtefactError(message + "make them again with `biosae features` on the data of the run")
    obs = read_table(folder / "features.h5ad").obs
    labels = labels | {"label_keys": list(comparable_labels(obs, **labels))}
    train = (obs["biosae_part"] == "train").to_numpy().nonzero()[0]
    l0 = codes.nnz / codes.n_tokens
    simpler = fit_controls(some_tokens(store, train, seed), codes.d_sae, max(1, round(l0)), seed)
    axes = pool_axes(store, simpler) | trained_controls(folder, train, l0)
    table = analyze_controls(folder / "features.h5ad", axes, folder, n_permutations=n_permutations, seed=seed, **labels)
    draw(table, show=False, save=folder / "controls.svg")
    logger.info("controls in %s and controls.svg: %d rows", folder / "controls.csv", len(table))
    return table


def activations_of(folder: Path) -> ActivationStore:
    """The activations that a run was trained on."""
    stored = read_run(folder)["activations"]["folder"]
    if stored is None:
        raise SettingError("analysis.controls=true needs activations on disk: train with buffer=store")
    return ActivationStore(Path(stored))


def trained_controls(folder: Path, train: np.ndarray, l0: float) -> dict[str, PooledAxes]:
    """SAEs with the settings of the run's own: one with a frozen decoder, one on each kind of random host."""
    settings = read_config(folder)
    cache = Path(read_run(folder)["activations"]["folder"]).parent
    settings = OmegaConf.merge(settings, {"buffer": {"cache": str(cache)}})
    frozen, inputs = OmegaConf.merge(settings, FROZEN), load_inputs(settings)
    found = {"sae, frozen decoder": control_axes("frozen_decoder", frozen, inputs, folder, train, l0, is_frozen=True)}
    host = HOSTS.get(settings.data.get("kind", "cells"))
    if host is None or "random_init" not in settings[host]:
        logger.warning("%s has no setting random_init, so there is no control on a random host", host or "this data")
        return found
    for name, kind in RANDOM_HOSTS.items():
        on_host = OmegaConf.merge(settings, {host: {"random_init": kind}})
        random = replace(inputs, adapter=load_model(on_host[host], on_host.device, host))
        found[name] = control_axes(f"random_{kind}", on_host, random, folder, train, l0, is_frozen=False)
    return found


def control_axes(
    name: str, settings: DictConfig, inputs: Inputs, folder: Path, train: np.ndarray, l0: float, is_frozen: bool
) -> PooledAxes:
    """The features of one control SAE, trained unless ``controls/<name>`` holds it already."""
    training, validation, store = sources(settings, inputs, read_run(folder)["model"]["layer"])
    kept = folder / "controls" / name
    source = {"sae": read_run(folder)["sae"]["hash"], "activations": store.hash}
    if not is_finished(kept, source):
        logger.info("training the control %s", name)
        sae, training_settings = build_sae(settings, inputs.adapter.d_model)
        if is_frozen:
            freeze_decoder(sae)
        (evaluation,) = Trainer([TrainingRun(sae, training_settings, kept)], training, validation, settings.seed).run()
        write_json(kept / "evaluation.json", evaluation | {"source": source})
    sae = files.load(kept)
    return pool_axes(store, {name: AtL0.fitted(sae, some_tokens(store, train, settings.seed), l0)})[name]


def is_finished(folder: Path, source: dict[str, str]) -> bool:
    path = folder / "evaluation.json"
    return path.exists() and read_json(path, made_by="biosae analyze")["source"] == source


def freeze_decoder(sae: SAE) -> None:
    """Keeps the random directions that the decoder starts with: their gradient is always zero."""
    sae.W_dec.register_hook(torch.zeros_like)
