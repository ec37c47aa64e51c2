"""`biosae train`: samples and a foundation model in, a sparse autoencoder of one layer out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from biosae.activations.source import ActivationSource
from biosae.activations.store import ActivationStore
from biosae.activations.stream import StreamedActivations
from biosae.artefacts import atomic_write, content_hash, settings_hash, write_json
from biosae.errors import SettingError
from biosae.ranks import present
from biosae.saes import files
from biosae.saes.architecture import Architecture
from biosae.saes.base import SAE, check_at_least
from biosae.saes.build import build
from biosae.saes.shards import CopyOnCpu, divide
from biosae.training.checkpoint import drop_checkpoints, latest_step
from biosae.training.recovery import embedding_recovery, mean_activation
from biosae.training.settings import TrainerSettings
from biosae.training.tracker import NoTracker
from biosae.training.trainer import SHARED, Run, Trainer

from .inputs import Inputs, choose_device, data_hash, load_inputs, stored_activations
from .launch import launch
from .runs import RUN, finish, open_run_folder, save_config

logger = logging.getLogger(__name__)

SETTINGS_OF_TRAINING = ("data", "scfm", "plm", "sae", "training", "buffer", "seed", "device", "compare")
PACKAGES = ("torch", "numpy", "anndata", "scikit-learn")


def main() -> None:
    launch("train", train, train_sweep)


def train(cfg: DictConfig) -> Path:
    """Trains one SAE, or goes on where the same command was cut off, and gives the folder of the run."""
    return train_together([cfg])[0]


def train_sweep(configs: Sequence[DictConfig]) -> None:
    """Trains the SAEs of a sweep; those that learn from the same batches do so in one pass over them."""
    passes = passes_of(configs)
    for number, together in enumerate(passes, start=1):
        logger.info("pass %d of %d: %d SAEs on the same activations", number, len(passes), len(together))
        train_together(together)
    logger.info("side by side: biosae sweep experiment.number=%s", configs[0].experiment.number)


def passes_of(configs: Sequence[DictConfig]) -> list[list[DictConfig]]:
    """Configurations that differ only in the SAE and how it learns, at most ``experiment.saes_per_pass`` together."""
    groups: dict[str, list[DictConfig]] = {}
    for cfg in configs:
        groups.setdefault(_what_a_pass_shares(cfg), []).append(cfg)
    return [part for group in groups.values() for part in _parts(group, group[0].experiment.saes_per_pass)]


def _parts(configs: Sequence[DictConfig], at_most: int) -> Iterator[Sequence[DictConfig]]:
    """Parts of nearly equal size."""
    check_at_least("experiment.saes_per_pass", at_most, 1)
    n_parts = -(-len(configs) // at_most)
    for part in range(n_parts):
        yield configs[part::n_parts]


def _what_a_pass_shares(cfg: DictConfig) -> str:
    settings = OmegaConf.to_container(cfg, resolve=True)
    settings["sae"] = settings["sae"]["target_layer"]
    settings["training"] = {name: settings["training"][name] for name in SHARED}
    return settings_hash(settings)


def train_together(configs: Sequence[DictConfig]) -> list[Path]:
    """Trains SAEs in one pass over the same activations, each into a run folder of its own."""
    prepared = prepare(configs, load_inputs(configs[0]))
    with ExitStack() as stack:
        identities = [identity(cfg, prepared.inputs) for cfg in configs]
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


def prepare(configs: Sequence[DictConfig], inputs: Inputs) -> Prepared:
    """Checks every setting and extracts the activations, which all configurations share."""
    built = [build_sae(cfg, inputs.adapter.d_model) for cfg in configs]
    layer = inputs.layer_index(configs[0].sae.target_layer)
    return Prepared(configs, built, inputs, layer, *sources(configs[0], inputs, layer))


def identity(cfg: DictConfig, inputs: Inputs) -> str:
    """A hash of what decides the weights: the settings, the samples' tokens and parts, and the model."""
    settings = OmegaConf.to_container(cfg, resolve=True)
    settings = {name: settings[name] for name in SETTINGS_OF_TRAINING}
    read = {"model": inputs.adapter.fingerprint, "beside_tokens": inputs.adapter.reads_beside_tokens}
    part = hashlib.sha256(inputs.split.part.codes).hexdigest()
    return settings_hash({"settings": settings, "tokens": inputs.sequences.hash, "split": part, **read})


def train_in(folders: Sequence[Path], prepared: Prepared) -> None:
    """Trains in run folders, from their checkpoints if there are some."""
    configs, inputs, is_first = prepared.configs, prepared.inputs, present().is_first
    runs = [
        Run(*built, folder, instantiate(cfg.tracker) if is_first else NoTracker())
        for cfg, built, folder in zip(configs, prepared.built, folders, strict=True)
    ]
    evaluations = train_runs(runs, configs, inputs, prepared.training, prepared.validation)
    if not is_first:
        return
    record(configs, inputs, prepared.layer, runs, evaluations, prepared.training, prepared.store)
    for folder in folders:
        drop_checkpoints(folder)


def train_runs(
    runs: Sequence[Run],
    configs: Sequence[DictConfig],
    inputs: Inputs,
    training: ActivationSource,
    validation: ActivationSource,
) -> list[dict[str, float]]:
    """Trains in one pass, from the last checkpoint of all runs if there is one; gives the held-out numbers."""
    ranks = present()
    if ranks.is_first:
        for run, cfg in zip(runs, configs, strict=True):
            start(cfg, inputs, run)
    seconds = configs[0].experiment.checkpoint_seconds
    trainer = Trainer(runs, training, validation, configs[0].seed, seconds, ranks)
    try:
        return trainer.run(resume=latest_step([run.folder for run in runs]) is not None)
    finally:
        for run in runs:
            run.tracker.close()


def start(cfg: DictConfig, inputs: Inputs, run: Run) -> None:
    """What a run folder holds before training."""
    save_config(run.folder, cfg)
    write_split(run.folder, inputs)
    run.tracker.start(run.folder, OmegaConf.to_container(cfg, resolve=True))


def record(
    configs: Sequence[DictConfig],
    inputs: Inputs,
    layer: int,
    runs: Sequence[Run],
    evaluations: Sequence[dict[str, float]],
    training: ActivationSource,
    store: ActivationStore | None,
) -> None:
    """What run folders hold after training: evaluation.json and run.json, which makes them finished runs."""
    saes = [run.sae if run.sae.shards.is_whole else CopyOnCpu(files.load(run.folder)) for run in runs]
    recoveries = recovery(configs[0], inputs, layer, saes, training)
    for cfg, run, evaluation, recovered in zip(configs, runs, evaluations, recoveries, strict=True):
        measured = evaluation | recovered
        write_json(run.folder / "evaluation.json", measured)
        write_json(run.folder / RUN, description(cfg, inputs, layer, run.sae, run.folder, training, store))
        numbers = ", ".join(f"{name} {number:.3g}" for name, number in measured.items())
        logger.info("%s in %s, held-out: %s", type(run.sae).__name__, run.folder.name, numbers)


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
    settings, device = TrainerSettings(lr=lr, **training), choose_device(cfg.device)
    return divide(sae, present(), device) if settings.shard_dictionary else sae.to(device), settings


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
    samples = {name: inputs.split.samples(*parts) for name, parts in splits.items()}
    if cfg.buffer.kind == "store":
        store = stored_activations(cfg, inputs, layer)
        return {name: store.content_of(rows, cfg.buffer.buffer_tokens) for name, rows in samples.items()}, store
    if cfg.buffer.kind == "stream":
        model, size = (inputs.adapter, inputs.sequences), (cfg.buffer.buffer_tokens, cfg.buffer.tokens_per_batch)
        return {name: StreamedActivations(*model, rows, layer, *size) for name, rows in samples.items()}, None
    raise SettingError(f"buffer.kind must be store or stream, got {cfg.buffer.kind}")


def recovery(
    cfg: DictConfig, inputs: Inputs, layer: int, saes: Sequence[SAE], training: ActivationSource
) -> list[dict[str, float]]:
    """Embedding recovery of each SAE on the validation samples."""
    samples = inputs.split.samples("validate")
    mean = mean_activation(training, cfg.training.normaliser_tokens, cfg.seed)
    per_batch = cfg.buffer.tokens_per_batch
    return embedding_recovery(inputs.adapter, inputs.sequences, samples, layer, saes, mean, per_batch)


def write_split(folder: Path, inputs: Inputs) -> None:
    """split.csv: which sample belongs to which part."""
    split, start = inputs.split, 0
    with atomic_write(folder / "split.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for names in inputs.samples.name_blocks():
            rows = slice(start, start + len(names))
            group = None if split.group is None else split.group[rows]
            table = pd.DataFrame({"part": split.part[rows], "group": group}, index=pd.Index(names, name="sample"))
            table.to_csv(file, header=start == 0)
            start = rows.stop


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
