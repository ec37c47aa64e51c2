"""What training and feature extraction both start from: samples, their split, the model, the tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from biosae.activations.extract import extract_activations
from biosae.activations.store import ActivationStore
from biosae.artefacts import settings_hash
from biosae.data.annotations import FEATURES, read_annotations
from biosae.data.cells import Cells, read_cells
from biosae.data.clusters import read_clusters
from biosae.data.fasta import read_fasta
from biosae.data.obs import check_column, find_label_keys
from biosae.data.residues import read_spans
from biosae.data.samples import Samples
from biosae.data.split import PARTS, Split, split_groups, split_samples
from biosae.data.vectors import Vectors, find_vectors
from biosae.distributed.processes import current_group
from biosae.errors import DataError, SettingError
from biosae.models.base import ModelAdapter
from biosae.models.loaders import LOADERS
from biosae.models.tokens import TokenSequences, joined_on_disk
from biosae.models.vectors import StoredVectors
from biosae.progress import progress_bar
from biosae.registry import call

from .data_files import data_hash, data_paths

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """Samples with their split, a model, and the samples as the model's tokens.

    Attributes
    ----------
    paths
        Files, or a folder that is read as one, or the URI of a store.
    samples
        Their names and annotations, of cells and proteins alike.
    adapter
        The model; a file of embeddings is one of a single layer.
    cells
        The counts, for cells only.
    spans
        Annotated sites and domains of proteins: the columns of residues.csv.
    n_genes_matched
        Genes of the cells that the model knows.
    """

    paths: list[Path | str]
    samples: Samples
    split: Split
    adapter: ModelAdapter
    sequences: TokenSequences
    cells: Cells | None = None
    spans: pd.DataFrame | None = None
    n_genes_matched: int | None = None

    def layer_index(self, layer: int) -> int:
        """The layer counted from 0; a model of one layer has no other to choose."""
        if not isinstance(layer, int):
            message = f"sae.target_layer is one layer here, such as -2, got {layer}"
            raise SettingError(f"{message}; several, such as [1,2], are for biosae train")
        return 0 if self.adapter.n_layers == 1 else self.adapter.layer_index(layer)


def load_inputs(cfg: DictConfig) -> Inputs:
    """Reads the data and the model that the configuration names, and tokenises."""
    loaders = {"cells": cell_inputs, "proteins": protein_inputs, "vectors": vector_inputs}
    if OmegaConf.is_missing(cfg.data, "kind") or cfg.data.kind not in loaders:
        message = f"data.kind must be one of {', '.join(loaders)}; begin your own data YAML with `defaults: [h5ad]`"
        raise SettingError(f"{message}, [fasta] or [protein_h5]")
    _refuse_an_unread_model(cfg.data.kind)
    return loaders[cfg.data.kind](cfg)


def _refuse_an_unread_model(kind: str) -> None:
    """Stops when the command line chooses a model of proteins for cells, or one of cells for proteins."""
    said = [word.lstrip("+~") for word in HydraConfig.get().overrides.task] if HydraConfig.initialized() else []
    for group, read, advice in (("scfm", "cells", "data=h5ad"), ("plm", "proteins", "data=fasta")):
        unread = [word for word in said if word.startswith((f"{group}=", f"{group}."))]
        if unread and kind != read:
            message = f"{unread[0]} is for {read}, but the data are {kind}; give {advice} data.path=FILE"
            raise SettingError(f"{message}, or leave {group} out")


def cell_inputs(cfg: DictConfig) -> Inputs:
    """An .h5ad and the single-cell model ``scfm``."""
    if cfg.data.name == "pbmc" and cfg.data.path is not None:
        message = f"data.path={cfg.data.path} would be taken for the PBMCs that come with biosae"
        raise SettingError(f"{message}; write data=h5ad data.path={cfg.data.path}")
    cells = read_cells(
        data_paths(cfg.data.path),
        counts_layer=cfg.data.counts_layer,
        gene_column=cfg.data.gene_column,
        label_keys=_names(cfg.data.label_keys),
        batch_key=cfg.data.batch_key,
        n_cells=cfg.data.n_cells,
        stratify=cfg.data.stratify,
        subset_hvg=cfg.data.preprocess.subset_hvg,
        filter=OmegaConf.to_container(cfg.data.filter),
        obs_columns=_names(cfg.data.obs_columns),
        seed=cfg.seed,
    )
    samples = Samples(cells.obs, cells.name_blocks, cells.label_keys, cells.batch_key, cells.obsm, len(cells.var))
    split = split_cells(samples, cfg.data.preprocess.split, cfg.data.split.group_key, cfg.seed)
    adapter = load_model(cfg.scfm, cfg.device, "scfm")
    match = adapter.match_genes(cells.var)
    for finding in (*cells.findings, match.sentence):
        logger.info(finding)
    sequences = joined_on_disk(_tokenized(adapter, cells), Path(cfg.experiment.root))
    n_empty = sum(int((lengths == 0).sum()) for lengths in sequences.length_blocks())
    if n_empty:
        logger.warning("%d cells express no gene that %s knows; they are kept, without features", n_empty, adapter.name)
    paths = [file.path for file in cells.files]
    return Inputs(paths, samples, split, adapter, sequences, cells=cells, n_genes_matched=match.n_matched)


def _tokenized(adapter: ModelAdapter, cells: Cells) -> Iterator[TokenSequences]:
    with progress_bar("reading tokens", len(cells.obs), "cells") as advance:
        for block in cells.blocks():
            yield adapter.tokenize(block)
            advance(len(block))


def protein_inputs(cfg: DictConfig) -> Inputs:
    """A FASTA file and the protein language model ``plm``."""
    path = _one_path(cfg.data.path)
    proteins = read_fasta(path)
    proteins = proteins.chosen(_drawn(len(proteins.ids), cfg.data.n_proteins, cfg.seed))
    logger.info("%s proteins, %s residues", f"{len(proteins.ids):,}", f"{sum(map(len, proteins.sequences)):,}")
    lengths = np.array([len(sequence) for sequence in proteins.sequences])
    samples, split = annotated_proteins(cfg, proteins.ids, lengths)
    spans = None if cfg.data.residues is None else read_spans(cfg.data.residues, proteins.ids, lengths)
    adapter = load_model(cfg.plm, cfg.device, "plm")
    return Inputs([path], samples, split, adapter, adapter.tokenize(proteins), spans=spans)


def vector_inputs(cfg: DictConfig) -> Inputs:
    """HDF5 files of embeddings, which stand for model and layer."""
    path = _one_path(cfg.data.path)
    vectors = find_vectors(path)
    vectors = vectors.chosen(_drawn(len(vectors.ids), cfg.data.n_proteins, cfg.seed))
    rows = f", {int(vectors.n_rows.sum()):,} residues" if vectors.is_per_residue else ""
    logger.info("%s proteins%s, embeddings of width %d", f"{len(vectors.ids):,}", rows, vectors.d)
    samples, split = annotated_proteins(cfg, vectors.ids, vectors.n_rows if vectors.is_per_residue else None)
    if cfg.data.residues is not None and not vectors.is_per_residue:
        message = f"data.residues: {path} has a vector a protein, so that residues cannot be told apart"
        raise DataError(f"{message}; give UniProt's feature table as data.annotations=")
    letters = None if cfg.data.sequences is None else sequences_of(vectors, cfg.data.sequences)
    spans = None if cfg.data.residues is None else read_spans(cfg.data.residues, vectors.ids, vectors.n_rows)
    name = cfg.data.model or vectors.model or "stored vectors"
    adapter = StoredVectors(vectors, name, settings_hash({"data": data_hash([path]), "ids": vectors.ids}), letters)
    adapter.network.to(choose_device(cfg.device))
    return Inputs([path], samples, split, adapter, adapter.tokenize(vectors), spans=spans)


def annotated_proteins(cfg: DictConfig, ids: list[str], lengths: np.ndarray | None) -> tuple[Samples, Split]:
    """Annotations of the proteins, and their split, which depends on neither annotations nor labels."""
    obs = pd.DataFrame(index=pd.Index(ids, name="protein"))
    names = partial(list, [np.array(ids, object)])
    if cfg.data.annotations is not None:
        obs = read_annotations(cfg.data.annotations, cfg.data.id_column, ids).set_index(obs.index)
    if lengths is not None:
        obs = obs.assign(n_residues=lengths)
    unknown = [key for key in _names(cfg.data.label_keys) or () if key not in obs]
    if unknown and cfg.data.annotations is None:
        message = f"data.label_keys: {', '.join(unknown)} would be of a table of annotations"
        raise SettingError(f"{message}; give it as data.annotations=")
    label_keys = find_label_keys(obs, _names(cfg.data.label_keys))
    if cfg.data.label_keys is None and FEATURES in obs:
        label_keys = list(dict.fromkeys([*label_keys, FEATURES]))
    logger.info("labels: %s", ", ".join(label_keys) or "none")
    shares = {part: cfg.data.split[part] for part in PARTS[1:]}
    if not all(share > 0 for share in shares.values()) or sum(shares.values()) >= 1:
        given = ", ".join(f"data.split.{part}={share}" for part, share in shares.items())
        raise SettingError(f"held-out shares must be above 0 and leave some to train on, got {given}")
    held_out = sum(shares.values())
    shares = {part: share / held_out for part, share in shares.items()}
    if cfg.data.split.groups is None:
        return Samples(obs, names, label_keys), split_samples(len(ids), held_out, cfg.seed, shares=shares)
    cluster = read_clusters(cfg.data.split.groups, ids)
    split = split_groups(cluster, held_out, cfg.seed, "cluster", shares)
    return Samples(obs.assign(cluster=cluster), names, label_keys), split


def sequences_of(vectors: Vectors, path: str) -> list[str]:
    """The amino acids of embedded proteins, one for every row of their embedding.

    Raises
    ------
    DataError
        If a protein is not in the FASTA file or is of another length there.
    """
    proteins = read_fasta(path)
    known = dict(zip(proteins.ids, proteins.sequences, strict=True))
    for name, n_rows in zip(vectors.ids, vectors.n_rows, strict=True):
        if len(known.get(name, "")) != n_rows:
            has = f"{len(known[name])} residues" if name in known else "no sequence"
            raise DataError(f"data.sequences: {path} has {has} for {name}, its embedding has {n_rows} rows")
    return [known[name] for name in vectors.ids]


def split_cells(samples: Samples, held_out: float, group_key: str | None, seed: int) -> Split:
    """Cells held out by donor or batch when a column is given, else one by one within each label."""
    obs = samples.obs
    if group_key is not None:
        check_column(obs, group_key, "data.split.group_key")
        return split_groups(obs[group_key].to_numpy(), held_out, seed, group_key)
    strata = obs[samples.label_keys[0]].array if samples.label_keys else None
    return split_samples(len(obs), held_out, seed, strata)


def _names(keys: list[str] | None) -> list[str] | None:
    return None if keys is None else list(keys)


def _one_path(path: str | list[str]) -> Path:
    if not isinstance(path, str):
        raise SettingError(f"data.path of proteins is one file or folder, got {path}")
    return Path(path).expanduser()


def _drawn(n: int, n_wanted: int | None, seed: int) -> list[int]:
    """Rows of the proteins to use: all, or some drawn at random."""
    if n_wanted is None:
        return list(range(n))
    if not 1 <= n_wanted <= n:
        raise SettingError(f"data.n_proteins must be between 1 and the {n} proteins of the file, got {n_wanted}")
    return np.sort(np.random.default_rng(seed).choice(n, n_wanted, replace=False)).tolist()


def load_model(model: DictConfig, device: str, group: str = "scfm") -> ModelAdapter:
    """The adapter whose loader a model configuration names, with the other settings as its arguments."""
    settings = OmegaConf.to_container(model, resolve=True)
    precision, loader = settings.pop("precision", "fp32"), LOADERS.get(settings.pop("loader", None))
    return call(loader, settings, group, device=choose_device(device)).in_precision(precision)


def choose_device(name: str) -> str:
    """``auto`` is the first GPU, of several processes one for each, or the processor."""
    if name == "auto":
        return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"device={name} cannot be used: {str(error).splitlines()[0]}") from error
    return name


def stored_activations(cfg: DictConfig, inputs: Inputs, layer: int, also_layers: Sequence[int] = ()) -> ActivationStore:
    """Activations of all samples on disk, extracted unless they are there, with those of other layers in one pass."""
    return extract_activations(
        inputs.adapter,
        inputs.sequences,
        layer,
        Path(cfg.buffer.cache or f"{cfg.experiment.root}/activations"),
        dtype=cfg.buffer.dtype,
        tokens_per_batch=cfg.buffer.tokens_per_batch,
        group=current_group(),
        also_layers=[*cfg.buffer.also_layers, *also_layers],
    )
