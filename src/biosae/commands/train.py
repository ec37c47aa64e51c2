"""`biosae train`: samples and a foundation model in, a sparse autoencoder of one layer out."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from biosae.activations.source import ActivationSource
from biosae.activations.store import ActivationStore
from biosae.activations.stream import StreamedActivations
from biosae.artefacts import atomic_write, content_hash, settings_hash, write_json
from biosae.errors import SettingError
from biosae.ranks import present
from biosae.saes.architecture import Architecture
from biosae.saes.base import SAE
from biosae.saes.build import build
from biosae.training.checkpoint import drop_checkpoints, latest_step
from biosae.training.recovery import embedding_recovery, mean_activation
from biosae.training.settings import TrainerSettings
from biosae.training.tracker import NoTracker
from biosae.training.trainer import Run, Trainer

from .inputs import Inputs, choose_device, data_hash, load_inputs, stored_activations, with_tokens
from .launch import launch
from .runs import RUN, finish, open_run_folder, save_config

logger = logging.getLogger(__name__)

SETTINGS_OF_TRAINING = ("data", "scfm", "plm", "sae", "training", "buffer", "seed", "device", "compare")
PACKAGES = ("torch", "numpy", "anndata", "scikit-learn")


def main() -> None:
    launch("train", train)


def train(cfg: DictConfig) -> Path:
    """Trains one SAE, or goes on where the same command was cut off, and gives the folder of the run."""
    prepared = prepare(cfg, load_inputs(cfg))
    with open_run_folder(cfg.experiment, identity(cfg, prepared.inputs)) as folder:
        train_in(folder, prepared)
        finish(folder)
    return folder


@dataclass(frozen=True)
class Prepared:
    """An untrained SAE, with all that is read and checked before a run has a folder."""

    cfg: DictConfig
    inputs: Inputs
    layer: int
    sae: SAE
    settings: TrainerSettings
    training: ActivationSource
    validation: ActivationSource
    store: ActivationStore | None


def prepare(cfg: DictConfig, inputs: Inputs) -> Prepared:
    """Checks every setting and extracts the activations."""
    sae, settings = build_sae(cfg, inputs.adapter.d_model)
    layer = inputs.layer_index(cfg.sae.target_layer)
    return Prepared(cfg, inputs, layer, sae, settings, *sources(cfg, inputs, layer))


def identity(cfg: DictConfig, inputs: Inputs) -> str:
    """A hash of what decides the weights: the settings, the samples' tokens and parts, and the model."""
    settings = OmegaConf.to_container(cfg, resolve=True)
    settings = {name: settings[name] for name in SETTINGS_OF_TRAINING}
    read = {"model": inputs.adapter.fingerprint, "beside_tokens": inputs.adapter.reads_beside_tokens}
    part = settings_hash({"part": inputs.split.part.tolist()})
    return settings_hash({"settings": settings, "tokens": inputs.sequences.hash, "split": part, **read})


def train_in(folder: Path, prepared: Prepared) -> None:
    """Trains in a run folder, from its checkpoint if there is one."""
    cfg, inputs = prepared.cfg, prepared.inputs
    ranks = present()
    run = Run(prepared.sae, prepared.settings, folder, instantiate(cfg.tracker) if ranks.is_first else NoTracker())
    if ranks.is_first:
        start(cfg, inputs, run)
    seconds = cfg.experiment.checkpoint_seconds
    trainer = Trainer([run], prepared.training, prepared.validation, cfg.seed, seconds, ranks)
    try:
        (evaluation,) = trainer.run(resume=latest_step([folder]) is not None)
    finally:
        run.tracker.close()
    if not ranks.is_first:
        return
    record(cfg, inputs, prepared.layer, run, evaluation, prepared.training, prepared.store)
    drop_checkpoints(folder)


def start(cfg: DictConfig, inputs: Inputs, run: Run) -> None:
    """What a run folder holds before training."""
    save_config(run.folder, cfg)
    write_split(run.folder, inputs)
    run.tracker.start(run.folder, OmegaConf.to_container(cfg, resolve=True))


def record(
    cfg: DictConfig,
    inputs: Inputs,
    layer: int,
    run: Run,
    evaluation: dict[str, float],
    training: ActivationSource,
    store: ActivationStore | None,
) -> None:
    """What a run folder holds after training: evaluation.json and run.json, which makes it a finished run."""
    evaluation = evaluation | recovery(cfg, inputs, layer, run.sae, training)
    write_json(run.folder / "evaluation.json", evaluation)
    write_json(run.folder / RUN, description(cfg, inputs, layer, run.sae, run.folder, training, store))
    numbers = ", ".join(f"{name} {number:.3g}" for name, number in evaluation.items())
    logger.info("%s held-out: %s", type(run.sae).__name__, numbers)


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
    sae = build(cfg.sae._target_, d_in, d_sae, hyperparams, cfg.seed, architecture)
    return sae.to(choose_device(cfg.device)), TrainerSettings(lr=lr, **training)


def sources(
    cfg: DictConfig, inputs: Inputs, layer: int
) -> tuple[ActivationSource, ActivationSource, ActivationStore | None]:
    """Activations to learn from and to watch, and the store behind them when there is one."""
    found, store = sources_of(cfg, inputs, layer, {"train": ("train",), "validate": ("validate",)})
    return found["train"], found["validate"], store


def sources_of(
    cfg: DictConfig, inputs: Inputs, layer: int, splits: Mapping[str, Sequence[str]]
) -> tuple[dict[str, ActivationSource], ActivationStore | None]:
    """Activations of the parts that make up each split, and the store behind them when there is one."""
    samples = {name: with_tokens(inputs.split.samples(*parts), inputs.sequences) for name, parts in splits.items()}
    if cfg.buffer.kind == "store":
        store = stored_activations(cfg, inputs, layer)
        return {name: store.content_of(rows, cfg.buffer.buffer_tokens) for name, rows in samples.items()}, store
    if cfg.buffer.kind == "stream":
        model, size = (inputs.adapter, inputs.sequences), (cfg.buffer.buffer_tokens, cfg.buffer.tokens_per_batch)
        return {name: StreamedActivations(*model, rows, layer, *size) for name, rows in samples.items()}, None
    raise SettingError(f"buffer.kind must be store or stream, got {cfg.buffer.kind}")


def recovery(cfg: DictConfig, inputs: Inputs, layer: int, sae: SAE, training: ActivationSource) -> dict[str, float]:
    """Embedding recovery on the validation samples."""
    samples = inputs.split.samples("validate")
    mean = mean_activation(training, cfg.training.normaliser_tokens, cfg.seed)
    per_batch = cfg.buffer.tokens_per_batch
    return embedding_recovery(inputs.adapter, inputs.sequences, samples, layer, sae, mean, per_batch)


def write_split(folder: Path, inputs: Inputs) -> None:
    """split.csv: which sample belongs to which part."""
    table = inputs.samples.obs[[]].rename_axis("sample").assign(part=inputs.split.part, group=inputs.split.group)
    with atomic_write(folder / "split.csv") as temporary:
        table.to_csv(temporary)


def description(
    cfg: DictConfig,
    inputs: Inputs,
    layer: int,
    sae: SAE,
    folder: Path,
    training: ActivationSource,
    store: ActivationStore | None,
) -> dict:
    """What run.json says: data, split, model, SAE and versions, with the hashes that tie them together."""
    adapter, samples = inputs.adapter, inputs.samples
    return {
        "format": 1,
        "biosae": importlib.metadata.version("biosae"),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": sys.version.split()[0]},
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "command": " ".join(sys.argv),
        "seed": cfg.seed,
        "data": {
            "name": cfg.data.name,
            "path": ", ".join(map(str, inputs.paths)),
            "description": cfg.data.description or _title(inputs.paths),
            "kind": "cells" if cfg.data.kind == "cells" else "proteins",
            "n_samples": len(samples.obs),
            "n_columns": samples.n_columns,
            "hash": data_hash(inputs.paths),
            "label_keys": samples.label_keys,
            "batch_key": samples.batch_key,
        },
        "split": {"n": inputs.split.sizes(), "group_key": inputs.split.group_key, "seed": cfg.seed},
        "model": {
            "name": adapter.name,
            "fingerprint": adapter.fingerprint,
            "layer": layer,
            "n_layers": adapter.n_layers,
            "d_model": adapter.d_model,
            "n_genes_matched": inputs.n_genes_matched,
            "pretrained_on": adapter.pretrained_on,
        },
        "sae": {
            "variant": cfg.sae._target_.rpartition(".")[2],
            "d_in": sae.d_in,
            "d_sae": sae.d_sae,
            "hash": content_hash(folder / "sae.safetensors"),
        },
        "activations": {
            "folder": None if store is None else str(store.folder.resolve()),
            "n_tokens": len(inputs.sequences.token),
            "n_train_tokens": training.n_tokens,
            "hash": None if store is None else store.hash,
        },
        "device": str(next(sae.parameters()).device) + f", torch {torch.__version__}",
    }


def _title(paths: list[Path | str]) -> str:
    name = Path(paths[0]).name
    return name if len(paths) == 1 else f"{len(paths)} files such as {name}"
