"""The record of a run: held-out numbers, origin of the SAE, and the part of each sample."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from biosae.artefacts import atomic_write, content_hash, write_json
from biosae.distributed.processes import current_group
from biosae.run_record import BESIDE, EVALUATION, FORMAT, RUN
from biosae.runs.settings import Settings
from biosae.saes.base import SAE
from biosae.training.recovery import embedding_recovery, mean_activation
from biosae.training.trainer import TrainingRun

from .prepare import PreparedData
from .training_plan import TrainingPlan

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "numpy", "anndata", "scikit-learn")


def record(plan: TrainingPlan, runs: Sequence[TrainingRun], evaluations: Sequence[dict[str, float]]) -> None:
    """Write evaluation.json and run.json into run folders after training, which makes them finished runs.

    Called by all processes, of which the first writes.
    """
    first = plan.together[0]
    mean = mean_activation(plan.sources["train"], first.training.normaliser_tokens, first.seed)
    if not current_group().is_first:
        return
    store = plan.store
    stored = {
        "folder": None if store is None else str(store.folder.resolve()),
        "n_train_tokens": plan.sources["train"].n_tokens,
        "hash": None if store is None else store.hash,
    }
    recoveries = recovery(plan, [run.sae for run in runs], mean)
    for settings, run, evaluation, recovered in zip(plan.together, runs, evaluations, recoveries, strict=True):
        measured = evaluation | recovered
        write_json(run.folder / EVALUATION, {"format": FORMAT, **measured})
        write_json(run.folder / RUN, description(settings, plan.prepared, plan.layer, run.sae, run.folder, stored))
        if run.tracker is not None and run.rows:
            run.tracker.log({f"final/{name}": number for name, number in measured.items()}, run.rows[-1]["step"])
        numbers = ", ".join(f"{name} {number:.3g}" for name, number in measured.items())
        logger.info("%s in %s, held-out: %s", type(run.sae).__name__, run.folder.name, numbers)


def recovery(plan: TrainingPlan, saes: Sequence[SAE], mean: Tensor) -> list[dict[str, float]]:
    """Return the embedding recovery of each SAE on the validation samples."""
    prepared, per_batch = plan.prepared, plan.together[0].buffer.tokens_per_batch
    samples = prepared.split.samples("validate")
    return embedding_recovery(prepared.adapter, prepared.sequences, samples, plan.layer, saes, mean, per_batch)


def description(
    settings: Settings, inputs: PreparedData, layer: int, sae: SAE, folder: Path, activations: dict[str, Any]
) -> dict[str, Any]:
    """Return the content of run.json: data, split, model, SAE and versions, with the hashes that tie them together.

    Parameters
    ----------
    folder
        Run folder, where the files of the SAE lie.
    activations
        Where they are stored, and how many there are.
    """
    data, seed = settings.data, settings.seed
    adapter, samples = inputs.adapter, inputs.samples
    split_seed = seed if inputs.split.seed is None else inputs.split.seed
    return {
        "format": FORMAT,
        "biosae": importlib.metadata.version("biosae"),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": sys.version.split()[0]},
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "command": " ".join(sys.argv),
        "seed": seed,
        "data": {
            "name": data.name,
            "path": ", ".join(map(str, inputs.paths)),
            "description": data.description or _title(inputs.paths),
            "kind": "cells" if data.kind == "cells" else "proteins",
            "n_samples": len(samples.obs),
            "n_columns": samples.n_columns,
            "hash": inputs.content_hash,
            "label_keys": samples.label_keys,
            "batch_key": samples.batch_key,
        },
        "split": {"n": inputs.split.sizes(), "group_key": inputs.split.group_key, "seed": split_seed},
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
        "activations": {"n_tokens": len(inputs.sequences.token), **activations},
        "hashes": {name: content_hash(folder / name) for name in BESIDE if (folder / name).exists()},
        "device": str(next(sae.parameters()).device) + f", torch {torch.__version__}",
    }


def _title(paths: list[Path | str]) -> str:
    name = Path(paths[0]).name if paths else "activations in memory"
    return name if len(paths) < 2 else f"{len(paths)} files such as {name}"


def write_split(folder: Path, prepared: PreparedData) -> None:
    """Write split.csv, the part of each sample."""
    split, start = prepared.split, 0
    with atomic_write(folder / "split.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for names in prepared.samples.name_blocks():
            rows = slice(start, start + len(names))
            group = None if split.group is None else split.group[rows]
            table = pd.DataFrame({"part": split.part[rows], "group": group}, index=pd.Index(names, name="sample"))
            table.to_csv(file, header=start == 0)
            start = rows.stop
