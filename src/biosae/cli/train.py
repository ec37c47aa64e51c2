"""`biosae train`: samples and a foundation model in, sparse autoencoders of one layer or several out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from biosae.activations.source import ActivationSource
from biosae.activations.store import ActivationStore
from biosae.activations.stream import StreamedActivations
from biosae.artefacts import settings_hash
from biosae.distributed.exchange import row_exchange
from biosae.distributed.processes import current_group
from biosae.errors import SettingError
from biosae.registry import call
from biosae.saes.architecture import Architecture
from biosae.saes.base import SAE
from biosae.saes.build import build
from biosae.training.checkpoint import drop_checkpoints, latest_step
from biosae.training.settings import TrainerSettings
from biosae.training.tracker import TRACKERS, NoTracker, Tracker
from biosae.training.trainer import Trainer, TrainingRun

from .inputs import Inputs, choose_device, load_inputs, stored_activations
from .launch import launch
from .passes import each_layer, passes_of, with_same_inputs
from .record import record, write_split
from .runs import finish, open_run_folder, save_config

logger = logging.getLogger(__name__)

SETTINGS_OF_TRAINING = ("data", "scfm", "plm", "sae", "training", "buffer", "seed", "device", "compare")


def main() -> None:
    launch("train", train, train_sweep)


def train(cfg: DictConfig) -> list[Path]:
    """Trains one SAE, or one for each layer that is named, or goes on where the same command was cut off.

    Gives the folders of the runs.
    """
    return train_sweep([cfg])


def train_sweep(configs: Sequence[DictConfig]) -> list[Path]:
    """Trains the SAEs of a sweep; those that learn from the same batches do so in one pass over them.

    What several layers need of the model is computed in one pass too, and stored.
    """
    groups = [passes_of(group) for group in with_same_inputs(each_layer(configs))]
    n_passes, n_begun, folders = sum(map(len, groups)), 0, []
    for passes in groups:
        inputs = load_inputs(passes[0][0])
        layers = sorted({inputs.layer_index(together[0].sae.target_layer) for together in passes})
        for together in passes:
            n_begun += 1
            if n_passes > 1 or len(together) > 1:
                layer = together[0].sae.target_layer
                what = "1 SAE" if len(together) == 1 else f"{len(together)} SAEs on the same activations"
                logger.info("pass %d of %d: %s, layer %d", n_begun, n_passes, what, layer)
            folders += train_together(together, inputs, layers)
    if len(folders) > 1:
        logger.info("side by side: biosae sweep experiment.number=%s", configs[0].experiment.number)
    return folders


def train_together(configs: Sequence[DictConfig], inputs: Inputs, layers: Sequence[int]) -> list[Path]:
    """Trains SAEs in one pass over the same activations, each into a run folder of its own.

    ``layers`` are all that are needed, here and in other passes: they are extracted together.
    """
    prepared = prepare(configs, inputs, layers)
    with ExitStack() as stack:
        identities = [identity(cfg, inputs) for cfg in configs]
        folders = [
            stack.enter_context(open_run_folder(cfg.experiment, known))
            for cfg, known in zip(configs, identities, strict=True)
        ]
        train_in(folders, prepared)
        for folder in folders:
            finish(folder)
    return folders


@dataclass(frozen=True)
class Prepared:
    """Untrained SAEs and how to train them, with all that is read and checked before their runs have folders."""

    configs: Sequence[DictConfig]
    built: Sequence[tuple[SAE, TrainerSettings]]
    inputs: Inputs
    layer: int
    training: ActivationSource
    validation: ActivationSource
    store: ActivationStore | None


def prepare(configs: Sequence[DictConfig], inputs: Inputs, also_layers: Sequence[int] = ()) -> Prepared:
    """Checks every setting and extracts the activations, which all configurations share."""
    built = [build_sae(cfg, inputs.adapter.d_model) for cfg in configs]
    layer = inputs.layer_index(configs[0].sae.target_layer)
    return Prepared(configs, built, inputs, layer, *sources(configs[0], inputs, layer, also_layers))


def identity(cfg: DictConfig, inputs: Inputs) -> str:
    """A hash of what decides the weights: the settings, the samples' tokens and parts, and the model."""
    settings = OmegaConf.to_container(cfg, resolve=True)
    settings = {name: settings[name] for name in SETTINGS_OF_TRAINING}
    settings["buffer"].pop("also_layers")
    read = {"model": inputs.adapter.fingerprint, "beside_tokens": inputs.adapter.reads_beside_tokens}
    part = hashlib.sha256(inputs.split.part.codes).hexdigest()
    return settings_hash({"settings": settings, "tokens": inputs.sequences.hash, "split": part, **read})


def train_in(folders: Sequence[Path], prepared: Prepared) -> None:
    """Trains in run folders, from their checkpoints if there are some."""
    configs, inputs, is_first = prepared.configs, prepared.inputs, current_group().is_first
    runs = [
        TrainingRun(*built, folder, new_tracker(cfg.tracker) if is_first else NoTracker())
        for cfg, built, folder in zip(configs, prepared.built, folders, strict=True)
    ]
    evaluations = train_runs(runs, configs, inputs, prepared.training, prepared.validation)
    record(configs, inputs, prepared.layer, runs, evaluations, prepared.training, prepared.store)
    if is_first:
        for folder in folders:
            drop_checkpoints(folder)


def train_runs(
    runs: Sequence[TrainingRun],
    configs: Sequence[DictConfig],
    inputs: Inputs,
    training: ActivationSource,
    validation: ActivationSource,
) -> list[dict[str, float]]:
    """Trains in one pass, from the last checkpoint of all runs if there is one; gives the held-out numbers."""
    group = current_group()
    if group.is_first:
        for run, cfg in zip(runs, configs, strict=True):
            start(cfg, inputs, run)
    seconds = configs[0].experiment.checkpoint_seconds
    trainer = Trainer(runs, training, validation, configs[0].seed, seconds, group)
    try:
        return trainer.run(resume=latest_step([run.folder for run in runs]) is not None)
    finally:
        for run in runs:
            run.tracker.close()


def new_tracker(settings: DictConfig) -> Tracker:
    """The tracker that ``tracker.kind`` names, made of the other settings."""
    settings = OmegaConf.to_container(settings, resolve=True)
    return call(TRACKERS.get(settings.pop("kind")), settings, "tracker")


def start(cfg: DictConfig, inputs: Inputs, run: TrainingRun) -> None:
    """What a run folder holds before training."""
    save_config(run.folder, cfg)
    write_split(run.folder, inputs)
    run.tracker.start(run.folder, OmegaConf.to_container(cfg, resolve=True))


def build_sae(cfg: DictConfig, d_in: int) -> tuple[SAE, TrainerSettings]:
    """The untrained SAE and how to train it; every setting is checked here."""
    d_sae = round(cfg.sae.dictionary_multiplier * d_in)
    if d_sae < 1:
        message = f"sae.dictionary_multiplier={cfg.sae.dictionary_multiplier} makes a dictionary of {d_sae} features"
        raise SettingError(f"{message}; it must be at least {1 / d_in:.3g}")
    hyperparams = OmegaConf.to_container(cfg.sae.hyperparams, resolve=True)
    lr = hyperparams.pop("lr")
    training = OmegaConf.to_container(cfg.training, resolve=True)
    architecture = Architecture(**cfg.sae.architecture)
    sae = build(cfg.sae.variant, d_in, d_sae, hyperparams, cfg.seed, architecture)
    return sae.to(choose_device(cfg.device)), TrainerSettings(lr=lr, **training)


def sources(
    cfg: DictConfig, inputs: Inputs, layer: int, also_layers: Sequence[int] = ()
) -> tuple[ActivationSource, ActivationSource, ActivationStore | None]:
    """Activations to learn from and to watch, and the store behind them when there is one."""
    found, store = sources_of(cfg, inputs, layer, {"train": ("train",), "validate": ("validate",)}, also_layers)
    return found["train"], found["validate"], store


def sources_of(
    cfg: DictConfig, inputs: Inputs, layer: int, splits: Mapping[str, Sequence[str]], also_layers: Sequence[int] = ()
) -> tuple[dict[str, ActivationSource], ActivationStore | None]:
    """Activations of the parts that make up each split, and the store behind them when there is one."""
    samples = {name: inputs.split.samples(*parts) for name, parts in splits.items()}
    if cfg.buffer.kind == "store":
        store = stored_activations(cfg, inputs, layer, also_layers)
        return {name: store.content_of(rows, cfg.buffer.buffer_tokens) for name, rows in samples.items()}, store
    if cfg.buffer.kind == "stream":
        model, size = (inputs.adapter, inputs.sequences), (cfg.buffer.buffer_tokens, cfg.buffer.tokens_per_batch)
        streams = {
            name: StreamedActivations(*model, rows, layer, *size, row_exchange(name)) for name, rows in samples.items()
        }
        return streams, None
    raise SettingError(f"buffer.kind must be store or stream, got {cfg.buffer.kind}")
