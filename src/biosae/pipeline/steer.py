"""The steer stage: edit codes inside the model's forward pass, beside baselines that need no SAE."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from biosae.artefacts import content_hash, settings_hash
from biosae.errors import SettingError, arguments_of
from biosae.features.table import read_table
from biosae.pl.steering import perturbation_panels, steering_panels
from biosae.runs.folders import read_run
from biosae.runs.plain import plain
from biosae.runs.settings import Settings, SteerSettings
from biosae.saes import files
from biosae.steering.context import SteeringContext, check_chain
from biosae.steering.contrast import check_groups
from biosae.steering.perturbation import Perturbation, run_perturbation
from biosae.steering.run import FeatureChoice, SteeringSweep, run_sweep, target_of
from biosae.steering.sweep import Recipe

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
        _steer(folder, settings, prepared, is_scored)
    logger.info("embeddings, tables and figures in %s and %s", folder, folder / "steering")
    return folder


def _steer(folder: Path, settings: Settings, prepared: PreparedData, is_scored: bool) -> None:
    run, context = read_run(folder), open_context(folder, settings, prepared)
    features_hash, content = content_hash(folder / "features.h5ad"), plain(settings)
    source = {"features": features_hash, "model": prepared.adapter.fingerprint}
    source["settings"] = {name: content[name] for name in ("data", "scfm", "plm")}
    embedded = folder / "steering" / "embedded" / settings_hash(source)
    options = {"label_keys": run["data"]["label_keys"], "batch_key": run["data"]["batch_key"], "seed": settings.seed}
    options |= {"features_hash": features_hash, "embedded": embedded}
    is_perturbation = settings.steer.perturbation.key is not None
    if is_scored or not is_perturbation:
        table = run_sweep(context, sweep_of(settings.steer), folder, **options)
        steering_panels(table, folder / "steering" / "effects")
    if is_perturbation:
        table = run_perturbation(context, perturbation_of(settings.steer), folder, **options)
        perturbation_panels(table, folder / "steering" / "perturbation")


def check_steering(settings: SteerSettings, obs: pd.DataFrame, batch_key: str | None, is_scored: bool) -> None:
    """Raise what can be known to be wrong before there is an SAE.

    Parameters
    ----------
    obs
        With ``biosae_part`` and ``biosae_n_tokens``.
    is_scored
        As in `steer`.
    """
    is_perturbation = settings.perturbation.key is not None
    with arguments_of("steer"):
        if is_perturbation:
            check_groups(obs, perturbation_of(settings).key, "key")
        if is_scored or not is_perturbation:
            target = target_of(sweep_of(settings), batch_key)
            if target is not None:
                check_groups(obs, target, "target")


def open_context(folder: Path, settings: Settings, prepared: PreparedData) -> SteeringContext:
    """Return the model with the SAE of a run, if both belong to its features."""
    run = read_run(folder)
    check_same_model(run, prepared)
    sae = files.load(folder, device=prepared.adapter.device)
    table = read_table(folder / "features.h5ad")
    check_chain(run, table, prepared.samples.names, sae, prepared.adapter)
    layer, per_batch = run["model"]["layer"], settings.buffer.tokens_per_batch
    return SteeringContext(prepared.adapter, sae, prepared.sequences, table, layer, per_batch)


def sweep_of(settings: SteerSettings) -> SteeringSweep:
    """Return the sweep that settings describe."""
    choose = settings.choose
    return SteeringSweep(
        choice=FeatureChoice(choose.by, choose.score, choose.descending, tuple(choose.features), choose.file),
        target=settings.target,
        n_features_list=tuple(settings.n_features_list),
        recipe=Recipe(settings.operation, tuple(settings.values), settings.unit, settings.where, settings.error),
        seeds=tuple(settings.seeds),
        baselines=tuple(settings.baselines),
        parts=tuple(settings.parts),
        off_target_samples=settings.off_target_samples,
    )


def perturbation_of(settings: SteerSettings) -> Perturbation:
    """Return the perturbation that settings describe."""
    named = settings.perturbation
    if named.control is None or named.treated is None:
        message = f"key={named.key} needs two of its values: control and treated"
        raise SettingError(message, argument="perturbation.key")
    return Perturbation(
        key=named.key,
        control=named.control,
        treated=named.treated,
        n_features_list=tuple(settings.n_features_list),
        strengths=tuple(named.strengths),
        seeds=tuple(settings.seeds),
        baselines=tuple(settings.baselines),
        off_target_samples=settings.off_target_samples,
    )
