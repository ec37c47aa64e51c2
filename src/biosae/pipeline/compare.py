"""The compare stage: several SAE variants trained on the same activations, in one pass over them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from biosae.artefacts import atomic_write
from biosae.errors import SettingError
from biosae.pl import comparison, comparison_curves
from biosae.runs.folders import mark_finished, open_run_folder
from biosae.runs.settings import CompareSettings, SaeSettings, Settings
from biosae.training.checkpoint import drop_checkpoints
from biosae.training.comparison import EveryEpoch, comparison_table
from biosae.training.trainer import TrainingRun

from .prepare import prepare
from .provenance import record
from .train import new_tracker, train_runs
from .training_plan import TrainingPlan, build_sae, identity, sources

logger = logging.getLogger(__name__)

SPLITS = {"train": ("train",), "val": ("validate", "select"), "test": ("test",)}
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
    together = [replace(settings, sae=with_shared(sae, settings.compare)) for sae in variants.values()]
    if settings.training.keep_best:
        message = "compare evaluates final weights and does not support keep_best"
        raise SettingError(message, argument="training.keep_best")
    prepared = prepare(settings)
    layer = prepared.layer_index(settings.sae.target_layer)
    built = [build_sae(one, prepared.adapter.d_model) for one in together]
    found, store = sources(settings, prepared, layer, SPLITS)
    plan = TrainingPlan(together, built, prepared, layer, found, store)
    with open_run_folder(settings.experiment, identity(settings, prepared)) as folder:
        runs = [_evaluated_run(plan, index, folder / name) for index, name in enumerate(variants)]
        evaluations = train_runs(runs, plan, found["val"])
        record(plan, runs, evaluations)
        write_comparison(folder, [run.tracker for run in runs])
        for run in runs:
            run.tracker.forget()
            drop_checkpoints(run.folder)
        mark_finished(folder)
    return folder


def with_shared(sae: SaeSettings, shared: CompareSettings) -> SaeSettings:
    """Return the settings of a variant with the shared ones in place of its own."""
    own = {name: value for name, value in shared.hyperparams.items() if name in sae.hyperparams}
    return replace(
        sae,
        dictionary_multiplier=shared.dictionary_multiplier,
        architecture=shared.architecture,
        hyperparams=sae.hyperparams | own,
    )


def _evaluated_run(plan: TrainingPlan, index: int, folder: Path) -> TrainingRun:
    """Return an untrained SAE that will be evaluated on all splits after every epoch."""
    sae, trainer = plan.built[index]
    n_steps = trainer.steps_per_epoch(plan.sources["train"].n_tokens)
    inner = new_tracker(plan.together[index].tracker)
    watcher = EveryEpoch(folder.name, sae, plan.sources, trainer.batch_size, n_steps, inner)
    return TrainingRun(sae, replace(trainer, eval_every=n_steps), folder, watcher)


def write_comparison(folder: Path, evaluations: Sequence[EveryEpoch]) -> None:
    """Write comparison.csv and its figures, as vectors and as pictures."""
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
