"""The compare stage: several SAE variants trained on the same activations, in one pass over them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd

from biosae.activations.source import ActivationSource
from biosae.artefacts import atomic_write
from biosae.errors import SettingError
from biosae.pl import comparison, comparison_curves
from biosae.registry import nearest
from biosae.runs.folders import mark_finished, open_run_folder
from biosae.runs.settings import CompareSettings, SaeSettings, Settings
from biosae.saes.architecture import Architecture
from biosae.training.baselines import baseline_table
from biosae.training.checkpoint import drop_checkpoints
from biosae.training.comparison import EveryEpoch, comparison_table
from biosae.training.trainer import TrainingRun

from .prepare import prepare
from .train import new_tracker, train_runs
from .training_plan import TrainingPlan, build_sae, check_settings, identity, sources

logger = logging.getLogger(__name__)

SPLITS = {"train": ("train",), "val": ("validate", "select"), "test": ("test",)}
OF_VARIANTS = ("dictionary_multiplier", "architecture", "hyperparams")
OVERFIT = 2  # NMSE on test over NMSE on train above which a warning is given
FIGURES = {"comparison": comparison, "curves": comparison_curves}


def compare(settings: Settings, variants: Mapping[str, SaeSettings]) -> Path:
    """Train variants side by side and write comparison.csv with its figures.

    Parameters
    ----------
    settings
        Shared settings; ``settings.compare`` replaces those of the variants that have them.
    variants
        Settings of each variant by its name. Each SAE has a run folder of its own, of that name.

    Returns
    -------
    Path
        The folder of the comparison.
    """
    check_variants(settings.compare)
    together = [replace(settings, sae=with_shared(sae, settings.compare, name)) for name, sae in variants.items()]
    if settings.training.keep_best:
        message = "compare evaluates final weights and does not support keep_best"
        raise SettingError(message, argument="training.keep_best")
    for one in together:
        check_settings(one.sae, one.training, one.device)
    prepared = prepare(settings)
    layer = prepared.layer_index(settings.sae.target_layer)
    built = [build_sae(one, prepared.adapter.d_model) for one in together]
    found, store = sources(settings, prepared, layer, SPLITS)
    plan = TrainingPlan(together, built, prepared, layer, found, store)
    with open_run_folder(settings.experiment, identity(settings, prepared)) as folder:
        runs = [_evaluated_run(plan, index, folder / name) for index, name in enumerate(variants)]
        train_runs(runs, plan, found["val"])
        table = write_comparison(folder, [run.tracker for run in runs], found, settings.seed)
        weights = {run.folder.name: sum(p.numel() for p in run.sae.parameters()) for run in runs}
        for sentence in gap_sentences(table, weights):
            logger.warning(sentence)
        for run in runs:
            run.tracker.forget()
            drop_checkpoints(run.folder)
        mark_finished(folder)
    return folder


def with_shared(sae: SaeSettings, shared: CompareSettings, name: str) -> SaeSettings:
    """Return the settings of a variant: its own, over them the shared ones, over them those of its name."""
    common = {key: value for key, value in shared.hyperparams.items() if key in sae.hyperparams}
    single = shared.variants.get(name, {})
    return replace(
        sae,
        dictionary_multiplier=single.get("dictionary_multiplier", shared.dictionary_multiplier),
        architecture=replace(shared.architecture, **single.get("architecture", {})),
        hyperparams=sae.hyperparams | common | single.get("hyperparams", {}),
    )


def check_variants(shared: CompareSettings) -> None:
    """Raise a SettingError when the settings of single variants name something that there is not."""
    options = [one.name for one in fields(Architecture)]
    for name, single in shared.variants.items():
        if not isinstance(single, Mapping) or not set(single) <= set(OF_VARIANTS):
            raise SettingError(f"settings of {name} alone are {', '.join(OF_VARIANTS)}, got {single}")
        for key in single.get("architecture", {}):
            if key not in options:
                raise SettingError(f"the architecture of {name} has no {key}; {nearest(key, options)}")


def _evaluated_run(plan: TrainingPlan, index: int, folder: Path) -> TrainingRun:
    """Return an untrained SAE that will be evaluated on all splits after every epoch."""
    sae, trainer = plan.built[index]
    n_steps = trainer.steps_per_epoch(plan.sources["train"].n_tokens)
    inner = new_tracker(plan.together[index].tracker)
    watcher = EveryEpoch(folder.name, sae, plan.sources, trainer.batch_size, n_steps, inner)
    return TrainingRun(sae, replace(trainer, eval_every=n_steps), folder, watcher)


def write_comparison(
    folder: Path, evaluations: Sequence[EveryEpoch], found: Mapping[str, ActivationSource], seed: int
) -> pd.DataFrame:
    """Write comparison.csv, baselines.csv and the figures, as vectors and as pictures; return comparison.csv."""
    table = comparison_table(evaluations)
    baselines = baseline_table(found, sizes_of(table), seed)
    for name, written in {"comparison": table, "baselines": baselines}.items():
        with atomic_write(folder / f"{name}.csv") as temporary:
            written.to_csv(temporary, index=False, float_format="%.9g")
    for name, draw in FIGURES.items():
        for suffix in ("pdf", "svg", "png"):
            with atomic_write(folder / f"{name}.{suffix}") as temporary:
                draw(table, baselines, show=False, save=temporary)
    for sentence in [*final_sentences(table), *baseline_sentences(table, baselines)]:
        logger.info(sentence)
    return table


def sizes_of(table: pd.DataFrame) -> list[int]:
    """Return the numbers of principal components to compare with: the k of the models, else their last L0 on test."""
    last = _last(table).xs("test", level="split")
    return sorted(
        {max(1, round(k if k > 0 else l0)) for k, l0 in zip(last["k"].astype(float), last["l0"], strict=True)}
    )


def final_sentences(table: pd.DataFrame) -> list[str]:
    """Return one sentence per model: its last NMSE, L0 and dead features, and why L0 may lie below k."""
    last = _last(table)
    sentences = []
    for model in dict.fromkeys(table["model"]):
        of = last.loc[model]
        nmse = ", ".join(f"{split} {of.loc[split, 'nmse']:.4f}" for split in SPLITS)
        dead, l0, k = of.loc["train", "dead_fraction"], of.loc["test", "l0"], of.loc["test", "k"]
        said = f"{model}: NMSE {nmse}; L0 {l0:.1f}; {dead:.0%} of the features dead on the train samples"
        if k > 0 and l0 < k - 0.05:
            said += f" (k = {k:.0f}: some samples have fewer positive pre-activations, and a code is never negative)"
        sentences.append(said)
    return sentences


def baseline_sentences(table: pd.DataFrame, baselines: pd.DataFrame) -> list[str]:
    """Return one sentence per baseline: its NMSE on test, and the models that do not beat it."""
    models = _last(table).xs("test", level="split")["nmse"]
    of_test = baselines[baselines["split"] == "test"].set_index("baseline")["nmse"]
    sentences = []
    for name, nmse in of_test.items():
        beaten = [model for model, own in models.items() if own >= nmse]
        verdict = f"not beaten by {', '.join(beaten)}" if beaten else "beaten by all models"
        sentences.append(f"baseline {name}: NMSE test {nmse:.4f}, {verdict}")
    return sentences


def gap_sentences(table: pd.DataFrame, weights: Mapping[str, int]) -> list[str]:
    """Return one warning for each model whose NMSE on test is more than twice that on train.

    Parameters
    ----------
    weights
        Number of weights of each model.
    """
    last = _last(table)
    sentences = []
    for model, n_weights in weights.items():
        train, test = last.loc[(model, "train")], last.loc[(model, "test")]
        if test["nmse"] > OVERFIT * train["nmse"]:
            size = f"{n_weights:,} weights, {int(train['n_tokens']):,} train tokens"
            sentences.append(f"{model} fits its train samples {test['nmse'] / train['nmse']:.1f} times better: {size}")
    return sentences


def _last(table: pd.DataFrame) -> pd.DataFrame:
    """Return the last rows of each model, by model and split."""
    last = table["step"] == table.groupby("model")["step"].transform("max")
    return table[last].set_index(["model", "split"])
