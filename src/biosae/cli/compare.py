"""`biosae compare`: several SAE variants trained on the same activations, in one pass over them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from biosae.activations.source import ActivationSource
from biosae.artefacts import atomic_write
from biosae.errors import SettingError
from biosae.pl.comparison import comparison, comparison_curves
from biosae.saes.base import SAE
from biosae.training.checkpoint import drop_checkpoints
from biosae.training.comparison import EveryEpoch, comparison_table
from biosae.training.settings import TrainerSettings
from biosae.training.trainer import TrainingRun

from .inputs import load_inputs
from .launch import launch
from .record import record
from .runs import finish, open_run_folder
from .train import build_sae, identity, new_tracker, sources_of, train_runs

logger = logging.getLogger(__name__)

SPLITS = {"train": ("train",), "val": ("validate", "select"), "test": ("test",)}
FIGURES = {"comparison": comparison, "curves": comparison_curves}


def main() -> None:
    launch("compare", compare)


def compare(cfg: DictConfig) -> Path:
    """Trains ``compare.saes`` and writes comparison.csv with its figures; each SAE has a run folder of its own."""
    configs = variant_configs(cfg)
    inputs = load_inputs(cfg)
    layer = inputs.layer_index(cfg.sae.target_layer)
    built = {name: build_sae(variant, inputs.adapter.d_model) for name, variant in configs.items()}
    found, store = sources_of(cfg, inputs, layer, SPLITS)
    with open_run_folder(cfg.experiment, identity(cfg, inputs)) as folder:
        runs = [prepare(*built[name], folder / name, configs[name].tracker, found) for name in configs]
        variants = list(configs.values())
        evaluations = train_runs(runs, variants, inputs, found["train"], found["val"])
        record(variants, inputs, layer, runs, evaluations, found["train"], store)
        write_comparison(folder, [run.tracker for run in runs])
        for run in runs:
            run.tracker.forget()
            drop_checkpoints(run.folder)
        finish(folder)
    return folder


def variant_configs(cfg: DictConfig) -> dict[str, DictConfig]:
    """The configuration of each variant: its own YAML, with what ``compare`` says in place of it.

    Raises
    ------
    SettingError
        If none is named, one is named twice, or a hyperparameter belongs to none of them.
    """
    names = list(cfg.compare.saes)
    if not names or len(set(names)) < len(names):
        raise SettingError(f"compare.saes must name different variants, got {', '.join(names) or 'none'}")
    said = list(HydraConfig.get().overrides.task)
    if mixed := [
        text for text in said if text.startswith(("sae=", "sae.")) and not text.startswith("sae.target_layer")
    ]:
        raise SettingError(f"{mixed[0]} is of one SAE; compare takes compare.saes=, compare.hyperparams. and the like")
    if cfg.training.keep_best:
        raise SettingError("biosae compare evaluates the final weights and does not support training.keep_best")
    configs = {name: _with_shared(hydra.compose("compare", [*said, f"sae={name}"]), cfg.compare) for name in names}
    known = {name for variant in configs.values() for name in variant.sae.hyperparams}
    prefix = "compare.hyperparams."
    asked = [override.lstrip("+").removeprefix(prefix).partition("=")[0] for override in said if prefix in override]
    if unknown := [name for name in asked if name not in known]:
        raise SettingError(f"{prefix}{unknown[0]} belongs to none of {', '.join(names)}")
    return configs


def prepare(
    sae: SAE, settings: TrainerSettings, folder: Path, tracker: DictConfig, found: dict[str, ActivationSource]
) -> TrainingRun:
    """An untrained SAE that will be evaluated on all splits after every epoch."""
    n_steps = settings.steps_per_epoch(found["train"].n_tokens)
    watcher = EveryEpoch(folder.name, sae, found, settings.batch_size, n_steps, new_tracker(tracker))
    return TrainingRun(sae, replace(settings, eval_every=n_steps), folder, watcher)


def write_comparison(folder: Path, evaluations: list[EveryEpoch]) -> None:
    """comparison.csv and its figures, as vectors and as pictures."""
    table = comparison_table(evaluations)
    with atomic_write(folder / "comparison.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
    for name, draw in FIGURES.items():
        for suffix in ("pdf", "svg", "png"):
            with atomic_write(folder / f"{name}.{suffix}") as temporary:
                draw(table, show=False, save=temporary)
    last = table[table["step"] == table["step"].max()].pivot(index="model", columns="split", values="nmse")
    for model in evaluations:
        numbers = ", ".join(f"{split} {last.loc[model.model, split]:.4f}" for split in SPLITS)
        logger.info("%s: NMSE %s", model.model, numbers)


def _with_shared(cfg: DictConfig, compare: DictConfig) -> DictConfig:
    with open_dict(cfg):
        cfg.sae.dictionary_multiplier = compare.dictionary_multiplier
        cfg.sae.architecture = compare.architecture
        own = {name: value for name, value in compare.hyperparams.items() if name in cfg.sae.hyperparams}
        cfg.sae.hyperparams = OmegaConf.merge(cfg.sae.hyperparams, own)
    return cfg
