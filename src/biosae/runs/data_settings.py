"""The settings of the data: cells, proteins as sequences, or embeddings of proteins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class GroupSplit:
    """How cells are held out; ``group_key`` names the obs column (donor, batch) that is kept whole."""

    group_key: str | None = None


@dataclass
class Preprocess:
    """Preparation of cells.

    Attributes
    ----------
    split
        Held-out share of the cells; None if nothing is trained on them.
    subset_hvg
        Highly variable genes to keep; None for all.
    """

    split: float | None = 0.4
    subset_hvg: int | None = None


@dataclass
class Data:
    """Fields that samples of every kind have; ``label_keys`` are detected when None."""

    kind: str = ""
    name: str = ""
    path: Any = None
    description: str = ""
    label_keys: list[str] | None = None


@dataclass
class CellData(Data):
    """Files of cells or SOMA experiments; keys that are None are detected in them and reported.

    Attributes
    ----------
    path
        A file, a list of files, a pattern, a folder or a URI; None for the PBMCs that come with the package.
    filter
        Values, or lists of values, of obs columns that a cell must have.
    n_cells, stratify
        Cells to draw at random, and the obs column whose values keep their shares in the draw.
    obs_columns
        Columns of obs to read; None for all.
    transfer
        A file of other cells with classes of the same names, on which the best features are scored again; ``pbmc_cite``
        stands for those that come with the package.
    """

    kind: str = "cells"
    batch_key: str | None = None
    counts_layer: str | None = None
    gene_column: str | None = None
    n_cells: int | None = None
    stratify: str | None = None
    filter: dict[str, Any] = field(default_factory=dict)
    obs_columns: list[str] | None = None
    transfer: str | None = None
    split: GroupSplit = field(default_factory=GroupSplit)
    preprocess: Preprocess = field(default_factory=Preprocess)


@dataclass
class ProteinSplit:
    """Held-out shares of the proteins, and what is kept whole.

    Attributes
    ----------
    groups
        A cluster file whose clusters are kept whole.
    near_copies
        Part of their 5-mers that sequences of one group share, which stay in one part; None keeps identical ones only.
    stratify
        Column of the annotations whose values are spread over the parts; None: the first label.
    """

    groups: str | None = None
    near_copies: float | None = 0.5
    stratify: str | None = None
    validate: float = 0.1
    select: float = 0.1
    test: float = 0.1


@dataclass
class ProteinData(Data):
    """A FASTA file.

    Attributes
    ----------
    annotations, id_column
        Table with one row per protein, and its column of ids.
    residues
        Table with one row per site or domain.
    residue_types
        Types of UniProt's features to score, or ``[all]``; None leaves out chains, variants and the like.
    match_isoforms
        Join an isoform (``P12345-2``) that has no annotations of its own to those of its parent.
    gaps
        Gaps of aligned sequences: ``refuse`` or ``remove``.
    n_proteins
        Proteins to draw at random; None for all.
    """

    kind: str = "proteins"
    annotations: str | None = None
    id_column: str | None = None
    residues: str | None = None
    residue_types: list[str] | None = None
    match_isoforms: bool = False
    gaps: str = "refuse"
    n_proteins: int | None = None
    split: ProteinSplit = field(default_factory=ProteinSplit)


@dataclass
class VectorData(ProteinData):
    """HDF5 files of embeddings; ``model`` names what made them, ``sequences`` is their FASTA file.

    ``path`` None stands for the three-finger toxins that come with the package, with their annotations.
    """

    kind: str = "vectors"
    model: str | None = None
    sequences: str | None = None


DATA_KINDS: dict[str, type[Data]] = {"cells": CellData, "proteins": ProteinData, "vectors": VectorData}


def pbmc() -> CellData:
    """Return the PBMCs that come with the package."""
    # Half is held out, because rare types need held-out cells: there are 14 platelets in all.
    description = "PBMC 3k, one healthy donor, 10x Genomics"
    return CellData(name="pbmc", description=description, label_keys=["cell_type"], preprocess=Preprocess(split=0.5))
