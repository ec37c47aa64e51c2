"""Training of SAEs from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from biosae.errors import SettingError
from biosae.pipeline.train import train_in
from biosae.pipeline.training_plan import TrainingPlan, check_settings, identity, plan_training
from biosae.runs.folders import mark_finished, open_run_folder
from biosae.runs.settings import SaeSettings
from biosae.saes.architecture import Architecture
from biosae.saes.base import SAE
from biosae.training.settings import TrainerSettings
from biosae.training.training_run import Callback

from .activations import Activations
from .run import Run

OF_TRAINING = {field.name for field in fields(TrainerSettings)} - {"lr"}
OF_ARCHITECTURE = {field.name for field in fields(Architecture)}


def train(
    x: Activations | Tensor | np.ndarray | Iterable,
    variant: str = "topk",
    *,
    expansion: float = 8.0,
    layers: Sequence[int] | None = None,
    lr: float | Callable[[float], float] | None = None,
    init: SAE | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int = 0,
    device: str = "auto",
    folder: Path | str | None = None,
    tracker: str = "csv",
    **settings: Any,
) -> Run | list[Run]:
    """Train a sparse autoencoder on activations.

    Parameters
    ----------
    x
        Activations of `biosae.tl.activations`, or an ``(n, d)`` tensor, array or memory map, or an iterator of batches.
        Numbers are split into samples to learn from and held-out ones; `Activations.of` gives them names.
    variant
        ``topk``, ``batchtopk``, ``matryoshka``, ``standard``, ``gated``, ``jumprelu``, ``panneal``, ``gatedanneal``,
        ``gumbeltopk``, or the name of a registered one.
    expansion
        Number of features, as a multiple of the width of the activations.
    layers
        Layers of a model, each of which gets an SAE; a list of runs is returned.
    lr
        Learning rate, or a function of the share of the run that is over; None for one that suits the variant.
    init
        An SAE whose weights and normaliser training starts from.
    callbacks
        Functions ``(sae, step)`` that are called at every evaluation; the numbers that they return are logged.
    seed
        Of the initial weights and of the order of activations.
    device
        ``auto``, or a device of torch.
    folder
        Folder that keeps the run, as the command line does; None: a temporary one, which `Run.save` copies.
    tracker
        ``csv``, ``tensorboard`` or ``wandb``.
    settings
        Settings of training (``epochs``, ``max_tokens``, ``batch_size``, ``patience``, ``keep_at``, ...), of the
        architecture (``tied_decoder``, ``layer_norm``, ...), and of the variant (``k``, ``l1_coefficient``, ...).

    Returns
    -------
    Run
        With ``sae`` and ``evaluation``; a list of them for ``layers``.

    Raises
    ------
    SettingError
        If a setting is unknown or out of range.
    DataError
        If the activations cannot be used.

    Examples
    --------
    >>> import biosae as bs, torch
    >>> x = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    >>> run = bs.train(x, "topk", k=4, expansion=2)
    >>> run.sae.d_sae
    32
    """
    groups = {"epochs": 1, "batch_size": 1024} | settings
    training = TrainerSettings(lr=None, **{name: groups.pop(name) for name in OF_TRAINING & set(groups)})
    shape = Architecture(**{name: groups.pop(name) for name in OF_ARCHITECTURE & set(groups)})
    is_schedule = callable(lr)
    hyperparams = groups | ({} if lr is None or is_schedule else {"lr": lr})
    if init is not None:
        expansion = init.d_sae / init.d_in
    sae = SaeSettings(variant, dictionary_multiplier=expansion, architecture=shape, hyperparams=hyperparams)
    check_settings(sae, training, device)
    acts = x if isinstance(x, Activations) else Activations.of(x, seed=seed)
    acts = acts if folder is None else acts.in_folder(folder)
    runs = []
    for layer in layers or [acts.layer]:
        own = replace(
            acts.settings,
            sae=replace(sae, target_layer=layer),
            training=training,
            seed=seed,
            device=device,
            tracker={"kind": tracker},
        )
        at_layer = replace(acts, layer=layer, settings=own)
        extras = {"callbacks": callbacks, "schedule": lr if is_schedule else None}
        runs.append(Run(_trained(at_layer, layers or [layer], init, extras), activations=at_layer))
    return runs[0] if layers is None else runs


def _trained(acts: Activations, layers: Sequence[int], init: SAE | None, extras: dict[str, Any]) -> Path:
    """Return the folder of a finished run."""
    settings = acts.settings
    plan = plan_training([settings], acts.prepared, layers)
    if init is not None:
        plan = _started_from(plan, init)
    is_plain = init is None and not any(extras.values())  # what a run that was cut off could be continued from
    experiment = replace(settings.experiment, resume=settings.experiment.resume and is_plain)
    with open_run_folder(experiment, identity(settings, acts.prepared)) as folder:
        train_in([folder], plan, **extras)
        mark_finished(folder)
    return folder


def _started_from(plan: TrainingPlan, init: SAE) -> TrainingPlan:
    ((sae, training),) = plan.built
    given, own = deepcopy(init).state_dict(), sae.state_dict()
    if (init.d_in, init.d_sae) != (sae.d_in, sae.d_sae):
        message = f"init has d_in={init.d_in} and d_sae={init.d_sae}, the SAE to train {sae.d_in} and {sae.d_sae}"
        raise SettingError(message, argument="init")
    if asdict(init.architecture) != asdict(sae.architecture):
        raise SettingError("init has another architecture than the SAE to train; pass the same settings", "init")
    sae.load_state_dict({name: given.get(name, own[name]) for name in own})
    return replace(plan, built=[(sae, training)])
