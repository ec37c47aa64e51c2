"""The train stage: samples and a foundation model in, sparse autoencoders of one layer or several out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from biosae.activations.source import ActivationSource
from biosae.distributed.processes import current_group
from biosae.errors import arguments_of
from biosae.registry import call
from biosae.runs.config_file import save_settings
from biosae.runs.folders import mark_finished, open_run_folder
from biosae.runs.plain import plain
from biosae.runs.settings import Settings
from biosae.training.checkpoint import drop_checkpoints, latest_step
from biosae.training.tracker import TRACKERS, NoTracker, Tracker
from biosae.training.trainer import Trainer, TrainingRun

from .prepare import PreparedData, prepare
from .provenance import record, write_split
from .sweep_plan import each_layer, passes_of, with_same_inputs
from .training_plan import TrainingPlan, check_settings, identity, plan_training

logger = logging.getLogger(__name__)


def train(settings: Settings) -> list[Path]:
    """Train one SAE, or one for each layer that is named, or continue a run of the same settings that was cut off.

    Returns
    -------
    list of Path
        The run folders.
    """
    return train_sweep([settings])


def train_sweep(sweep: Sequence[Settings]) -> list[Path]:
    """Train the SAEs of a sweep; those that learn from the same batches do so in one pass over them.

    Activations of several layers are computed in one pass of the model, too, and stored.
    """
    for settings in sweep:
        check_settings(settings.sae, settings.training, settings.device)
    groups = [passes_of(group) for group in with_same_inputs(each_layer(sweep))]
    n_passes, n_begun, folders = sum(map(len, groups)), 0, []
    for passes in groups:
        prepared = prepare(passes[0][0])
        layers = sorted({prepared.layer_index(together[0].sae.target_layer) for together in passes})
        for together in passes:
            n_begun += 1
            if n_passes > 1 or len(together) > 1:
                layer = together[0].sae.target_layer
                what = "1 SAE" if len(together) == 1 else f"{len(together)} SAEs on the same activations"
                logger.info("pass %d of %d: %s, layer %d", n_begun, n_passes, what, layer)
            folders += train_together(together, prepared, layers)
    return folders


def train_together(together: Sequence[Settings], prepared: PreparedData, layers: Sequence[int]) -> list[Path]:
    """Train SAEs in one pass over the same activations, each into a run folder of its own.

    Parameters
    ----------
    layers
        All layers that are needed, here and in other passes: they are extracted together.
    """
    plan = plan_training(together, prepared, layers)
    with ExitStack() as stack:
        identities = [identity(settings, prepared) for settings in together]
        folders = [
            stack.enter_context(open_run_folder(settings.experiment, known))
            for settings, known in zip(together, identities, strict=True)
        ]
        train_in(folders, plan)
        for folder in folders:
            mark_finished(folder)
    return folders


def train_in(folders: Sequence[Path], plan: TrainingPlan, **extras: Any) -> None:
    """Train in run folders, from their checkpoints if there are some.

    Parameters
    ----------
    extras
        ``schedule`` and ``callbacks`` of each `TrainingRun`.
    """
    is_first = current_group().is_first
    runs = [
        TrainingRun(*built, folder, new_tracker(settings.tracker) if is_first else NoTracker(), **extras)
        for settings, built, folder in zip(plan.together, plan.built, folders, strict=True)
    ]
    train_runs(runs, plan, plan.sources["validate"])
    if is_first:
        for folder in folders:
            drop_checkpoints(folder)


def train_runs(runs: Sequence[TrainingRun], plan: TrainingPlan, validation: ActivationSource) -> None:
    """Train in one pass, from the last checkpoint of all runs if there is one, and record the held-out numbers."""
    group = current_group()
    if group.is_first:
        for run, settings in zip(runs, plan.together, strict=True):
            save_settings(run.folder, settings)
            write_split(run.folder, plan.prepared)
            run.tracker.start(run.folder, plain(settings))
    seed, seconds = plan.together[0].seed, plan.together[0].experiment.checkpoint_seconds
    trainer = Trainer(runs, plan.sources["train"], validation, seed, seconds, group)
    try:
        record(plan, runs, trainer.run(resume=latest_step([run.folder for run in runs]) is not None))
    finally:
        for run in runs:
            run.tracker.close()


def new_tracker(settings: Mapping[str, Any]) -> Tracker:
    """Return the tracker of this ``kind``, made with the other settings."""
    settings = dict(settings)
    with arguments_of("tracker"):
        return call(TRACKERS.get(settings.pop("kind", None)), settings, "tracker")
