"""The controls of a run: simpler axes, an SAE with a frozen decoder and SAEs of random hosts, scored like its own."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from biosae.activations.store import ActivationStore
from biosae.analysis.concept_recovery import analyze_controls, comparable_labels
from biosae.artefacts import check_origin, read_json, write_json
from biosae.errors import ArtefactError, SettingError
from biosae.features.control_axes import AtL0, fit_controls, pool_axes, some_tokens
from biosae.features.expression import EXPRESSION, check_expression
from biosae.features.expression_axes import expression_axes
from biosae.features.feature_table import read_feature_table
from biosae.features.pool import PooledAxes
from biosae.features.token_codes import TokenCodes
from biosae.pl import controls as draw
from biosae.run_record import FORMAT, RUN, read_run
from biosae.runs.config_file import read_settings
from biosae.runs.settings import Settings
from biosae.saes import files
from biosae.saes.base import SAE
from biosae.training.trainer import Trainer, TrainingRun

from .models import load_model
from .prepare import PreparedData, prepare
from .training_plan import build_sae, sources

logger = logging.getLogger(__name__)

RANDOM_HOSTS = {"sae, random layers": "blocks", "sae, random model": "all"}
"""Name of the control -> ``random_init`` of its host."""


def write_controls(folder: Path, labels: dict, n_permutations: int, seed: int) -> pd.DataFrame:
    """Write controls.csv and controls.svg: what other axes recover, by the same code, splits and nulls."""
    codes, store = TokenCodes(folder / "token_codes"), activations_of(folder)
    if codes.activations_hash != store.hash:
        message = "the features are of other samples than the SAE was trained on"
        raise ArtefactError(f"{message}; run the features stage again on the data of the run")
    obs = read_feature_table(folder / "features.h5ad").obs
    labels = labels | {"label_keys": list(comparable_labels(obs, **labels))}
    train = (obs["biosae_part"] == "train").to_numpy().nonzero()[0]
    l0 = codes.nnz / codes.n_tokens
    simpler = fit_controls(some_tokens(store, train, seed), codes.d_sae, max(1, round(l0)), seed)
    axes = pool_axes(store, simpler)
    if (folder / EXPRESSION).exists():  # samples are cells
        check_expression(folder / EXPRESSION, store.hash)
        axes |= expression_axes(folder / EXPRESSION, train, seed)
    elif read_run(folder)["data"]["kind"] == "cells":
        logger.warning("no %s, so expression is no control; run the features stage again", folder / EXPRESSION)
    axes |= trained_controls(folder, train, l0)
    table = analyze_controls(folder / "features.h5ad", axes, folder, n_permutations=n_permutations, seed=seed, **labels)
    draw(table, show=False, save=folder / "controls.svg")
    logger.info("controls in %s and controls.svg: %d rows", folder / "controls.csv", len(table))
    return table


def activations_of(folder: Path) -> ActivationStore:
    """Return the activations that a run was trained on."""
    stored = read_run(folder)["activations"]
    if stored["folder"] is None:
        message = "controls=True needs activations on disk: train with buffer=store"
        raise SettingError(message, argument="controls")
    store = ActivationStore(Path(stored["folder"]))
    if stored.get("hash") is not None:
        check_origin(store.folder, stored["hash"], folder / RUN, store.hash, "the train stage")
    return store


def trained_controls(folder: Path, train: np.ndarray, l0: float) -> dict[str, PooledAxes]:
    """Return SAEs with the settings of the run's own: one with a frozen decoder, one on each kind of random host."""
    settings = settings_of_controls(folder)
    prepared = prepare(settings)
    found = {"sae, frozen decoder": control_axes("frozen_decoder", frozen(settings), prepared, folder, train, l0)}
    if settings.model is None or "random_init" not in settings.model:
        host = "this model" if settings.model else "this data"
        logger.warning("%s has no setting random_init, so there is no control on a random host", host)
        return found
    for name, kind in RANDOM_HOSTS.items():
        model = settings.model | {"random_init": kind}
        on_host = replace(settings, **{"scfm" if settings.data.kind == "cells" else "plm": model})
        random = replace(prepared, adapter=load_model(model, settings.device))
        found[name] = control_axes(f"random_{kind}", on_host, random, folder, train, l0)
    return found


def settings_of_controls(folder: Path) -> Settings:
    """Return the settings of a run, with its activations where they are."""
    settings = read_settings(folder)
    cache = Path(read_run(folder)["activations"]["folder"]).parent
    return replace(settings, buffer=replace(settings.buffer, cache=str(cache)))


def frozen(settings: Settings) -> Settings:
    """Return settings without a tied encoder, which would be frozen with the decoder."""
    architecture = replace(settings.sae.architecture, tied_decoder=False)
    return replace(settings, sae=replace(settings.sae, architecture=architecture))


def control_axes(
    name: str, settings: Settings, prepared: PreparedData, folder: Path, train: np.ndarray, l0: float
) -> PooledAxes:
    """Return the features of one control SAE, trained unless ``controls/<name>`` holds it already."""
    found, store = sources(settings, prepared, read_run(folder)["model"]["layer"])
    kept = folder / "controls" / name
    source = {"sae": read_run(folder)["sae"]["hash"], "activations": store.hash}
    if not is_finished(kept, source):
        logger.info("training the control %s", name)
        sae, trainer = build_sae(settings, prepared.adapter.d_model)
        if name == "frozen_decoder":
            freeze_decoder(sae)
        run = TrainingRun(sae, trainer, kept)
        (evaluation,) = Trainer([run], found["train"], found["validate"], settings.seed).run()
        write_json(kept / "evaluation.json", {"format": FORMAT, **evaluation, "source": source})
    sae = files.load(kept)
    return pool_axes(store, {name: AtL0.fitted(sae, some_tokens(store, train, settings.seed), l0)})[name]


def is_finished(folder: Path, source: dict[str, str]) -> bool:
    """Return whether a control was trained to its end on the same activations, beside the same SAE."""
    path = folder / "evaluation.json"
    return path.exists() and read_json(path, "the analyze stage", {"source": {str: str}}, FORMAT)["source"] == source


def freeze_decoder(sae: SAE) -> None:
    """Keep the random directions that the decoder starts with: their gradient is always zero."""
    sae.W_dec.register_hook(torch.zeros_like)
