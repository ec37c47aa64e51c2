"""The steer stage: edit codes inside the model's forward pass, beside baselines that need no SAE."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.artefacts import content_hash, settings_hash
from biosae.errors import ArtefactError, SettingError, arguments_of
from biosae.features.feature_table import read_feature_table
from biosae.models.base import ModelAdapter
from biosae.pl.interventions import perturbation_panels, steering_panels
from biosae.run_record import read_run
from biosae.runs.plain import plain
from biosae.runs.settings import Settings, SteerSettings
from biosae.saes import files
from biosae.saes.base import SAE
from biosae.steering.closeness import perturbation_effects
from biosae.steering.context import SteeringContext, check_groups
from biosae.steering.edit_settings import edit_settings
from biosae.steering.effects import sweep_effects
from biosae.steering.embed import SteeredSamples
from biosae.steering.off_target import off_target_tables
from biosae.steering.plan import FeatureChoice, Recipe, SteeringPlan, target_of
from biosae.steering.ranking import rankings
from biosae.steering.steered import with_settings, write_steered, write_tables

from .encode import check_same_model
from .prepare import PreparedData, prepare

logger = logging.getLogger(__name__)


def steer(folder: Path, settings: Settings, prepared: PreparedData | None = None, is_scored: bool = False) -> Path:
    """Write steered.h5ad, or perturbation.h5ad, and the tables of ``steering/`` of a run.

    Parameters
    ----------
    folder
        Run folder with features.
    settings
        ``steer``, and the data and the model of the run.
    prepared
        The data, where they are in memory already.
    is_scored
        Whether an integration benchmark follows, which reads the sweep: a perturbation is then computed in addition.
    """
    prepared = prepare(settings) if prepared is None else prepared
    with arguments_of("steer"):
        sweep, perturbation = plans_of(settings.steer, settings.seed, is_scored)
        context = open_context(folder, settings, prepared)
        if sweep is not None:
            steering_panels(steer_samples(context, sweep), folder / "steering" / "effects")
        if perturbation is not None:
            perturbation_panels(steer_samples(context, perturbation), folder / "steering" / "perturbation")
    logger.info("embeddings, tables and figures in %s and %s", folder, folder / "steering")
    return folder


def steer_samples(context: SteeringContext, plan: SteeringPlan) -> pd.DataFrame:
    """Write steered.h5ad and, in ``steering/``, effects.csv and off_target.csv with its kin; return the effects.

    A perturbation writes perturbation.h5ad, perturbation.csv and perturbation_off_target.csv in their place, the last
    for the strengths that are best on select.

    Raises
    ------
    BiosaeError
        If features, columns, values or parts do not exist, before anything is embedded.
    """
    plan = replace(plan, target=target_of(plan, context.batch_key))
    ranked = rankings(context, plan)
    settings = edit_settings(context, plan, ranked)
    steered = SteeredSamples.compute(context, plan, settings)
    write_steered(context, plan, steered)
    effects = (perturbation_effects if plan.is_perturbation else sweep_effects)(context, plan, steered)
    effects = with_settings(effects, settings)
    write_tables(context.folder, {"perturbation" if plan.is_perturbation else "effects": effects})
    if plan.is_perturbation:
        settings = {key: settings[key] for key in effects.loc[effects["best_on_select"], "key"].unique()}
    tables = off_target_tables(context, plan, settings)
    tables["off_target"] = with_settings(tables["off_target"], settings)
    prefix = "perturbation_" if plan.is_perturbation else ""
    write_tables(context.folder, {prefix + name: table for name, table in tables.items()})
    return effects


def check_steering(settings: Settings, obs: pd.DataFrame, batch_key: str | None, is_scored: bool) -> None:
    """Raise what can be known to be wrong before there is an SAE.

    Parameters
    ----------
    obs
        With ``biosae_part`` and ``biosae_n_tokens``.
    is_scored
        As in `steer`.
    """
    with arguments_of("steer"):
        sweep, perturbation = plans_of(settings.steer, settings.seed, is_scored)
        if perturbation is not None:
            check_groups(obs, perturbation.target, "key")
        target = None if sweep is None else target_of(sweep, batch_key)
        if target is not None:
            check_groups(obs, target, "target")


def open_context(folder: Path, settings: Settings, prepared: PreparedData) -> SteeringContext:
    """Return the model with the SAE of a run, if both belong to its features."""
    run = read_run(folder)
    check_same_model(run, prepared.adapter)
    sae = files.load(folder, device=prepared.adapter.device)
    table = read_feature_table(folder / "features.h5ad")
    check_chain(run, table, prepared.samples.names, sae, prepared.adapter)
    features_hash, content = content_hash(folder / "features.h5ad"), plain(settings)
    source = {"features": features_hash, "model": prepared.adapter.fingerprint}
    source["settings"] = {name: content[name] for name in ("data", "scfm", "plm")}
    return SteeringContext(
        adapter=prepared.adapter,
        sae=sae,
        sequences=prepared.sequences,
        table=table,
        layer=run["model"]["layer"],
        tokens_per_batch=settings.buffer.tokens_per_batch,
        folder=folder,
        cache=folder / "steering" / "embedded" / settings_hash(source),
        features_hash=features_hash,
        label_keys=tuple(run["data"]["label_keys"]),
        batch_key=run["data"]["batch_key"],
    )


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


def plans_of(settings: SteerSettings, seed: int, is_scored: bool) -> tuple[SteeringPlan | None, SteeringPlan | None]:
    """Return the plan of the sweep and that of the perturbation, each None where settings do not ask for it."""
    sweep, named = sweep_of(settings, seed), settings.perturbation
    if named.key is None:
        return sweep, None
    if named.control is None or named.treated is None:
        message = f"key={named.key} needs two of its values, as control and treated"
        raise SettingError(message, argument="key")
    perturbation = sweep.toward(named.key, named.control, named.treated, tuple(named.strengths))
    return (sweep if is_scored else None), perturbation


def sweep_of(settings: SteerSettings, seed: int) -> SteeringPlan:
    """Return the sweep that settings describe."""
    choose = settings.choose
    return SteeringPlan(
        choice=FeatureChoice(choose.by, choose.score, choose.descending, tuple(choose.features), choose.file),
        recipe=Recipe(settings.operation, tuple(settings.values), settings.unit, settings.where, settings.error),
        n_features_list=tuple(settings.n_features_list),
        seeds=tuple(settings.seeds),
        baselines=tuple(settings.baselines),
        target=settings.target,
        parts=tuple(settings.parts),
        off_target_samples=settings.off_target_samples,
        seed=seed,
    )
