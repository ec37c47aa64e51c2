"""Samples, their split, the model and the tokens: what training and encoding both start from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.activations.extract import extract_activations
from biosae.activations.store import ActivationStore
from biosae.artefacts import settings_hash
from biosae.data.annotations import FEATURES, read_annotations
from biosae.data.cells import Cells, read_cells
from biosae.data.clusters import read_clusters
from biosae.data.copies import hashes_of_tokens, hashes_of_vectors
from biosae.data.fasta import read_fasta
from biosae.data.files import data_hash, data_paths
from biosae.data.obs import check_column, find_label_keys
from biosae.data.residues import read_spans
from biosae.data.samples import Samples
from biosae.data.split import Split, all_held_out, split_groups, split_samples
from biosae.data.vectors import Vectors, find_vectors
from biosae.datasets import three_finger_toxins
from biosae.distributed.processes import current_group
from biosae.errors import DataError, SettingError, arguments_of
from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences, joined_on_disk
from biosae.models.vectors import StoredVectors, residues
from biosae.progress import progress_bar
from biosae.runs.data_settings import CellData, ProteinData, VectorData
from biosae.runs.settings import Settings

from .models import choose_device, load_model
from .protein_split import Copies, copies_of, copies_together, split_proteins

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedData:
    """Samples with their split, a model, and the samples as the model's tokens.

    Attributes
    ----------
    paths
        Files, or a folder that is read as one, or the URI of a store.
    samples
        Their names and annotations, of cells and proteins alike.
    adapter
        The model; a file of embeddings is a model of a single layer.
    cells
        The counts, for cells only.
    spans
        Annotated sites and domains of proteins: the columns of residues.csv.
    n_genes_matched
        Genes of the cells that the model knows.
    content
        Hash of data that are not in files.
    """

    paths: list[Path | str]
    samples: Samples
    split: Split
    adapter: ModelAdapter
    sequences: TokenSequences
    cells: Cells | None = None
    spans: pd.DataFrame | None = None
    n_genes_matched: int | None = None
    content: str | None = None

    @property
    def content_hash(self) -> str:
        """A hash of the files, or of what was given in their place."""
        return self.content or data_hash(self.paths)

    def layer_index(self, layer: int) -> int:
        """Return the layer counted from 0; a model of one layer has no other to choose."""
        if not isinstance(layer, int):
            message = f"target_layer is one layer here, such as -2, got {layer}"
            raise SettingError(f"{message}; only training takes several, such as [1,2]", argument="sae.target_layer")
        return 0 if self.adapter.n_layers == 1 else self.adapter.layer_index(layer)


def prepare(settings: Settings) -> PreparedData:
    """Read the data and load the model that settings name, and tokenise."""
    read = {"cells": prepare_cells, "proteins": prepare_proteins, "vectors": prepare_vectors}[settings.data.kind]
    return read(settings)


def prepare_cells(settings: Settings, adapter: ModelAdapter | None = None) -> PreparedData:
    """Read files of cells for a single-cell model, which is loaded unless it is there."""
    data: CellData = settings.data
    with arguments_of("data"):
        cells = read_cells(
            data_paths(data.path),
            counts_layer=data.counts_layer,
            gene_column=data.gene_column,
            label_keys=data.label_keys,
            batch_key=data.batch_key,
            n_cells=data.n_cells,
            stratify=data.stratify,
            subset_hvg=data.preprocess.subset_hvg,
            filter=data.filter,
            obs_columns=data.obs_columns,
            seed=settings.seed,
        )
        samples = Samples(cells.obs, cells.name_blocks, cells.label_keys, cells.batch_key, cells.obsm, len(cells.var))
        split = split_cells(samples, data.preprocess.split, data.split.group_key, settings.seed)
    adapter = load_model(settings.scfm, settings.device) if adapter is None else adapter
    match = adapter.match_genes(cells.var)
    for finding in (*cells.findings, match.sentence):
        logger.info(finding)
    sequences = joined_on_disk(_tokenized(adapter, cells), Path(settings.experiment.root))
    n_empty = sum(int((lengths == 0).sum()) for lengths in sequences.length_blocks())
    if n_empty:
        logger.warning("%d cells express no gene that %s knows; they are kept, without features", n_empty, adapter.name)
    with arguments_of("data"):
        split = copies_together(split, hashes_of_tokens(sequences.token, sequences.value, sequences.offsets), "cells")
    paths = [file.path for file in cells.files]
    return PreparedData(paths, samples, split, adapter, sequences, cells=cells, n_genes_matched=match.n_matched)


def _tokenized(adapter: ModelAdapter, cells: Cells) -> Iterator[TokenSequences]:
    with progress_bar("reading tokens", len(cells.obs), "cells") as advance:
        for block in cells.blocks():
            yield adapter.tokenize(block)
            advance(len(block))


def prepare_proteins(settings: Settings) -> PreparedData:
    """Read a FASTA file for a protein language model."""
    data: ProteinData = settings.data
    with arguments_of("data"):
        path = _one_path(data.path)
        proteins = read_fasta(path, gaps=data.gaps)
        proteins = proteins.chosen(_drawn(len(proteins.ids), data.n_proteins, settings.seed))
        logger.info("%s proteins, %s residues", f"{len(proteins.ids):,}", f"{sum(map(len, proteins.sequences)):,}")
        lengths = np.array([len(sequence) for sequence in proteins.sequences])
        copies = copies_of(proteins.sequences, data.split.near_copies)
        samples, split = annotated_proteins(data, proteins.ids, lengths, copies, settings.seed)
        spans = _spans(data, proteins.ids, lengths)
    adapter = load_model(settings.plm, settings.device)
    return PreparedData([path], samples, split, adapter, adapter.tokenize(proteins), spans=spans)


def prepare_vectors(settings: Settings) -> PreparedData:
    """Read HDF5 files of embeddings, which stand for model and layer."""
    data: VectorData = with_embedded_files(settings.data)
    with arguments_of("data"):
        path = _one_path(data.path)
        vectors = find_vectors(path)
        vectors = vectors.chosen(_drawn(len(vectors.ids), data.n_proteins, settings.seed))
        rows = f", {int(vectors.n_rows.sum()):,} residues" if vectors.is_per_residue else ""
        logger.info("%s proteins%s, embeddings of width %d", f"{len(vectors.ids):,}", rows, vectors.d)
        lengths = vectors.n_rows if vectors.is_per_residue else None
        sequences = None if data.sequences is None else sequences_of(vectors, data.sequences, data.gaps)
        copies = Copies(hashes_of_vectors(vectors))
        if sequences is not None:
            copies = copies_of(sequences, data.split.near_copies)
        samples, split = annotated_proteins(data, vectors.ids, lengths, copies, settings.seed)
        if data.residues is not None and lengths is None:
            message = f"residues cannot be told apart: {path} has one vector per protein"
            raise DataError(f"{message}; give UniProt's feature table as annotations", argument="residues")
        spans = _spans(data, vectors.ids, vectors.n_rows)
    name = data.model or vectors.model or "stored vectors"
    tokens = residues(sequences) if vectors.is_per_residue and sequences is not None else None
    adapter = StoredVectors(vectors, name, settings_hash({"data": data_hash([path]), "ids": vectors.ids}), tokens)
    adapter.network.to(choose_device(settings.device))
    return PreparedData([path], samples, split, adapter, adapter.tokenize(vectors), spans=spans)


def with_embedded_files(data: VectorData) -> VectorData:
    """Return settings with the files that come with the package where no path is given."""
    if data.path is not None:
        return data
    embeddings, annotations = three_finger_toxins()
    return replace(data, path=str(embeddings), annotations=data.annotations or str(annotations))


def annotated_proteins(
    data: ProteinData, ids: list[str], lengths: np.ndarray | None, copies: Copies, seed: int
) -> tuple[Samples, Split]:
    """Return the annotations of proteins, and their split, in which near copies stay in one part."""
    obs = pd.DataFrame(index=pd.Index(ids, name="protein"))
    if data.annotations is not None:
        obs = read_annotations(data.annotations, data.id_column, ids, data.match_isoforms).set_index(obs.index)
    if lengths is not None:
        obs = obs.assign(n_residues=lengths)
    label_keys = protein_labels(data, obs)
    logger.info("labels: %s", ", ".join(label_keys) or "none")
    names = partial(list, [np.array(ids, object)])
    if data.split.groups is not None:
        obs = obs.assign(cluster=read_clusters(data.split.groups, ids))
    split = split_proteins(data.split, obs, label_keys, copies, seed)
    logger.info(split.sentence("proteins"))
    return Samples(obs, names, label_keys), split


def _spans(data: ProteinData, ids: list[str], lengths: np.ndarray) -> pd.DataFrame | None:
    if data.residues is None:
        return None
    return read_spans(data.residues, ids, lengths, data.residue_types, data.match_isoforms)


def protein_labels(data: ProteinData, obs: pd.DataFrame) -> list[str]:
    """Return the columns to score: those given, or all that look like labels."""
    unknown = [key for key in data.label_keys or () if key not in obs]
    if unknown and data.annotations is None:
        message = f"label_keys {', '.join(unknown)} not found: there is no table of annotations"
        raise SettingError(f"{message}; give one as annotations", argument="label_keys")
    label_keys = find_label_keys(obs, data.label_keys)
    if data.label_keys is None and FEATURES in obs:
        label_keys = list(dict.fromkeys([*label_keys, FEATURES]))
    return label_keys


def sequences_of(vectors: Vectors, path: str, gaps: str = "refuse") -> list[str]:
    """Return the amino acids of embedded proteins, one for every row of an embedding by residues.

    Raises
    ------
    DataError
        If a protein is not in the FASTA file or has another length there.
    """
    proteins = read_fasta(path, argument="sequences", gaps=gaps)
    known = dict(zip(proteins.ids, proteins.sequences, strict=True))
    for name, n_rows in zip(vectors.ids, vectors.n_rows, strict=True):
        if name not in known or (vectors.is_per_residue and len(known[name]) != n_rows):
            has = f"{len(known[name])} residues" if name in known else "no sequence"
            message = f"sequences: {path} has {has} for {name}, its embedding has {n_rows} rows"
            raise DataError(message, argument="sequences")
    return [known[name] for name in vectors.ids]


def split_cells(samples: Samples, held_out: float | None, group_key: str | None, seed: int) -> Split:
    """Hold out cells by donor or batch when a column is given, else one by one within each label; all for None."""
    obs = samples.obs
    if held_out is None:
        return all_held_out(len(obs))
    if group_key is not None:
        check_column(obs, group_key, "group_key")
        return split_groups(obs[group_key].to_numpy(), held_out, seed, group_key)
    strata = obs[samples.label_keys[0]].array if samples.label_keys else None
    return split_samples(len(obs), held_out, seed, strata)


def _one_path(path: str | list[str]) -> Path:
    if not isinstance(path, str | Path):
        raise SettingError(f"path of proteins is one file or folder, got {path}", argument="path")
    return Path(path).expanduser()


def _drawn(n: int, n_wanted: int | None, seed: int) -> list[int]:
    """Return the rows of the proteins to use: all, or some drawn at random."""
    if n_wanted is None:
        return list(range(n))
    if not 1 <= n_wanted <= n:
        message = f"n_proteins must be between 1 and the {n} proteins of the file, got {n_wanted}"
        raise SettingError(message, argument="n_proteins")
    return np.sort(np.random.default_rng(seed).choice(n, n_wanted, replace=False)).tolist()


def stored_activations(
    settings: Settings, prepared: PreparedData, layer: int, also_layers: Sequence[int] = ()
) -> ActivationStore:
    """Return the activations of all samples on disk, extracted unless they are there.

    Those of other layers are extracted in the same pass.
    """
    buffer = settings.buffer
    with arguments_of("buffer"):
        return extract_activations(
            prepared.adapter,
            prepared.sequences,
            layer,
            Path(settings.cache),
            dtype=buffer.dtype,
            tokens_per_batch=buffer.tokens_per_batch,
            group=current_group(),
            also_layers=[*buffer.also_layers, *also_layers],
        )
