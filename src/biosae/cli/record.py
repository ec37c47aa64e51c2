"""What a run folder says of its SAE: held-out numbers, where it comes from, which sample was in which part."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from biosae.activations.source import ActivationSource
from biosae.activations.store import ActivationStore
from biosae.artefacts import atomic_write, content_hash, write_json
from biosae.distributed.processes import current_group
from biosae.saes.base import SAE
from biosae.training.recovery import embedding_recovery, mean_activation
from biosae.training.trainer import TrainingRun

from .data_files import data_hash
from .inputs import Inputs
from .runs import RUN

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "numpy", "anndata", "scikit-learn")


def record(
    configs: Sequence[DictConfig],
    inputs: Inputs,
    layer: int,
    runs: Sequence[TrainingRun],
    evaluations: Sequence[dict[str, float]],
    training: ActivationSource,
    store: ActivationStore | None,
) -> None:
    """What run folders hold after training: evaluation.json and run.json, which makes them finished runs.

    Called by all processes, of which the first writes.
    """
    mean = mean_activation(training, configs[0].training.normaliser_tokens, configs[0].seed)
    if not current_group().is_first:
        return
    recoveries = recovery(configs[0], inputs, layer, [run.sae for run in runs], mean)
    for cfg, run, evaluation, recovered in zip(configs, runs, evaluations, recoveries, strict=True):
        measured = evaluation | recovered
        write_json(run.folder / "evaluation.json", measured)
        write_json(run.folder / RUN, description(cfg, inputs, layer, run.sae, run.folder, training, store))
        numbers = ", ".join(f"{name} {number:.3g}" for name, number in measured.items())
        logger.info("%s in %s, held-out: %s", type(run.sae).__name__, run.folder.name, numbers)


def recovery(cfg: DictConfig, inputs: Inputs, layer: int, saes: Sequence[SAE], mean: Tensor) -> list[dict[str, float]]:
    """Embedding recovery of each SAE on the validation samples."""
    samples = inputs.split.samples("validate")
    per_batch = cfg.buffer.tokens_per_batch
    return embedding_recovery(inputs.adapter, inputs.sequences, samples, layer, saes, mean, per_batch)


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
            "variant": type(sae).__name__,
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
