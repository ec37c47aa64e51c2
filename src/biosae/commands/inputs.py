"""What training and feature extraction both start from: samples, their split, the model, the tokens."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from biosae.activations.extract import extract_activations
from biosae.activations.store import ActivationStore
from biosae.data.cells import Cells, read_cells
from biosae.data.obs import check_column
from biosae.data.split import Split, split_groups, split_samples
from biosae.errors import DataError, SettingError
from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences

logger = logging.getLogger(__name__)

EMBEDDED = "embedded/pbmc3k.h5ad"


@dataclass(frozen=True)
class Inputs:
    """Samples with their split, a model, and the samples as the model's tokens."""

    path: Path
    cells: Cells
    split: Split
    adapter: ModelAdapter
    sequences: TokenSequences


def load_inputs(cfg: DictConfig) -> Inputs:
    """Reads the data and the model that the configuration names, and tokenises."""
    path = data_path(cfg.data.path)
    cells = read_cells(
        path,
        counts_layer=cfg.data.counts_layer,
        gene_column=cfg.data.gene_column,
        label_keys=None if cfg.data.label_keys is None else list(cfg.data.label_keys),
        batch_key=cfg.data.batch_key,
        n_cells=cfg.data.n_cells,
        subset_hvg=cfg.data.preprocess.subset_hvg,
        seed=cfg.seed,
    )
    split = make_split(cells, cfg.data.preprocess.split, cfg.data.split.group_key, cfg.seed)
    adapter = load_model(cfg.scfm, cfg.device)
    for finding in (*cells.findings, adapter.match_genes(cells.adata.var).sentence):
        logger.info(finding)
    sequences = adapter.tokenize(cells.adata)
    n_empty = int((sequences.lengths == 0).sum())
    if n_empty:
        logger.warning("%d cells express no gene that %s knows; they are kept, without features", n_empty, adapter.name)
    return Inputs(path, cells, split, adapter, sequences)


def data_path(path: str | None) -> Path:
    """The file a user named, or the embedded PBMCs."""
    return Path(str(resources.files("biosae.data") / EMBEDDED)) if path is None else Path(path)


def make_split(cells: Cells, held_out: float, group_key: str | None, seed: int) -> Split:
    """Cells held out by donor or batch when a column is given, else one by one within each label."""
    obs = cells.adata.obs
    if group_key is not None:
        check_column(obs, group_key, "data.split.group_key")
        return split_groups(obs[group_key].to_numpy(), held_out, seed)
    strata = obs[cells.label_keys[0]].to_numpy() if cells.label_keys else None
    return split_samples(len(obs), held_out, seed, strata)


def load_model(model: DictConfig, device: str) -> ModelAdapter:
    """The adapter a model configuration names; only functions of ``biosae.models`` are called."""
    if not str(model._target_).startswith("biosae.models."):
        raise SettingError(f"scfm._target_ must name a function of biosae.models, got {model._target_}")
    return instantiate(model, device=choose_device(device))


def choose_device(name: str) -> str:
    """``auto`` is the first GPU, or the processor."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"device={name} cannot be used: {str(error).splitlines()[0]}") from error
    return name


def stored_activations(cfg: DictConfig, inputs: Inputs, layer: int) -> ActivationStore:
    """Activations of all samples on disk, extracted unless they are there."""
    return extract_activations(
        inputs.adapter,
        inputs.sequences,
        layer,
        Path(cfg.buffer.cache or f"{cfg.experiment.root}/activations"),
        dtype=cfg.buffer.dtype,
        tokens_per_batch=cfg.buffer.tokens_per_batch,
    )


def with_tokens(samples: np.ndarray, sequences: TokenSequences) -> np.ndarray:
    """Those samples that have a token."""
    kept = samples[sequences.lengths[samples] > 0]
    if len(kept) == 0:
        raise DataError("none of the held-out samples has a token")
    return kept
