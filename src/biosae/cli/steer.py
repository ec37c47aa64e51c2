"""`biosae steer`: edit codes inside the model's forward pass, beside baselines that need no SAE."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from biosae.artefacts import content_hash, settings_hash
from biosae.errors import SettingError
from biosae.features.feature_table import read_feature_table
from biosae.pl.interventions import perturbation_panels, steering_panels
from biosae.saes import files
from biosae.steering.context import SteeringContext, check_chain
from biosae.steering.contrast import check_groups
from biosae.steering.perturbation import Perturbation, run_perturbation
from biosae.steering.run import FeatureChoice, SteeringSweep, run_sweep, target_of
from biosae.steering.sweep import Recipe

from .features import check_same_model, with_settings_of
from .inputs import Inputs, load_inputs
from .launch import launch
from .runs import open_run, read_run

logger = logging.getLogger(__name__)


def main() -> None:
    launch("steer", steer)


def steer(cfg: DictConfig) -> Path:
    """Writes steered.h5ad, or perturbation.h5ad, and the tables of ``steering/`` of a run."""
    with open_run(cfg) as folder:
        cfg = with_settings_of(folder, cfg)
        write_steering(cfg, folder, load_inputs(cfg))
    return folder


def write_steering(cfg: DictConfig, folder: Path, inputs: Inputs, is_scored: bool = False) -> None:
    """Steers the model of a run with its SAE.

    Parameters
    ----------
    is_scored
        Whether an integration benchmark follows, which reads the sweep: a perturbation then stands beside it.
    """
    run, host = read_run(folder), open_host(cfg, folder, inputs)
    features_hash = content_hash(folder / "features.h5ad")
    source = {"features": features_hash, "model": inputs.adapter.fingerprint}
    source["settings"] = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["data", "scfm", "plm"]), resolve=True)
    embedded = folder / "steering" / "embedded" / settings_hash(source)
    with_what = {"label_keys": run["data"]["label_keys"], "batch_key": run["data"]["batch_key"], "seed": cfg.seed}
    with_what |= {"features_hash": features_hash, "embedded": embedded}
    toward = cfg.steer.perturbation.key is not None
    if is_scored or not toward:
        table = run_sweep(host, plan_of(cfg.steer), folder, **with_what)
        steering_panels(table, folder / "steering" / "effects")
    if toward:
        table = run_perturbation(host, perturbation_of(cfg.steer), folder, **with_what)
        perturbation_panels(table, folder / "steering" / "perturbation")
    logger.info("embeddings, tables and figures in %s and %s", folder, folder / "steering")


def check_steering(cfg: DictConfig, obs: pd.DataFrame, batch_key: str | None, is_scored: bool) -> None:
    """Raises what can be known to be wrong before there is an SAE.

    Parameters
    ----------
    obs
        With ``biosae_part`` and ``biosae_n_tokens``.
    is_scored
        As in `write_steering`.
    """
    toward = cfg.steer.perturbation.key is not None
    if toward:
        check_groups(obs, perturbation_of(cfg.steer).key, "steer.perturbation.key")
    if is_scored or not toward:
        target = target_of(plan_of(cfg.steer), batch_key)
        if target is not None:
            check_groups(obs, target, "steer.target")


def open_host(cfg: DictConfig, folder: Path, inputs: Inputs) -> SteeringContext:
    """The model with the SAE of a run, if both belong to its features."""
    run = read_run(folder)
    check_same_model(run, inputs)
    sae = files.load(folder, device=inputs.adapter.device)
    table = read_feature_table(folder / "features.h5ad")
    check_chain(run, table, inputs.samples.names, sae, inputs.adapter)
    return SteeringContext(
        inputs.adapter, sae, inputs.sequences, table, run["model"]["layer"], cfg.buffer.tokens_per_batch
    )


def plan_of(steer: DictConfig) -> SteeringSweep:
    """The settings of the section ``steer`` as the Python API takes them."""
    choose = steer.choose
    return SteeringSweep(
        choice=FeatureChoice(choose.by, choose.score, choose.descending, tuple(choose.features), choose.file),
        target=steer.target,
        n_features_list=tuple(steer.n_features_list),
        recipe=Recipe(steer.operation, tuple(steer["values"]), steer.unit, steer.where, steer.error),
        seeds=tuple(steer.seeds),
        baselines=tuple(steer.baselines),
        parts=tuple(steer.parts),
        off_target_samples=steer.off_target_samples,
    )


def perturbation_of(steer: DictConfig) -> Perturbation:
    """The settings of a perturbation as the Python API takes them."""
    named = steer.perturbation
    if named.control is None or named.treated is None:
        message = (
            f"steer.perturbation.key={named.key} needs two of its values: steer.perturbation.control= and .treated="
        )
        raise SettingError(message)
    return Perturbation(
        key=named.key,
        control=named.control,
        treated=named.treated,
        n_features_list=tuple(steer.n_features_list),
        strengths=tuple(named.strengths),
        seeds=tuple(steer.seeds),
        baselines=tuple(steer.baselines),
        off_target_samples=steer.off_target_samples,
    )
