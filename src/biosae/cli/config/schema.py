"""The shape of the configuration: every key, its type, and what it means.

Hydra checks names and types against these classes; the numbers stand in the YAML files beside.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from biosae.saes.architecture import Architecture
from biosae.training.settings import TrainerSettings


@dataclass
class SplitBy:
    """How samples are held out; ``group_key`` names the obs column (donor, batch) that is kept whole."""

    group_key: str | None = None


@dataclass
class Preprocess:
    """``split``: held-out share of the samples; ``subset_hvg``: highly variable genes to keep, all when empty."""

    split: float = MISSING
    subset_hvg: int | None = None


@dataclass
class Data:
    """What samples of every kind have; ``label_keys`` left empty are detected."""

    kind: str = MISSING
    name: str = MISSING
    path: Any = MISSING
    description: str = ""
    label_keys: list[str] | None = None


@dataclass
class CellData(Data):
    """Files of cells or SOMA experiments; keys left empty are detected in them and reported.

    ``filter`` takes the cells that have one of the given values in each of its obs columns; ``obs_columns`` reads only
    these columns of obs. ``n_cells`` draws cells at random; ``stratify`` names the obs column whose values keep their
    shares in that draw.
    """

    kind: str = "cells"
    batch_key: str | None = None
    counts_layer: str | None = None
    gene_column: str | None = None
    n_cells: int | None = None
    stratify: str | None = None
    filter: dict[str, Any] = field(default_factory=dict)
    obs_columns: list[str] | None = None
    split: SplitBy = field(default_factory=SplitBy)
    preprocess: Preprocess = field(default_factory=Preprocess)


@dataclass
class ProteinSplit:
    """Shares of the proteins that are held out; ``groups`` is a cluster file whose clusters are kept whole."""

    groups: str | None = None
    validate: float = MISSING
    select: float = MISSING
    test: float = MISSING


@dataclass
class ProteinData(Data):
    """A FASTA file; ``annotations`` is a table with one row a protein, ``residues`` one with a row a site or domain."""

    kind: str = "proteins"
    annotations: str | None = None
    id_column: str | None = None
    residues: str | None = None
    n_proteins: int | None = None
    split: ProteinSplit = field(default_factory=ProteinSplit)


@dataclass
class VectorData(ProteinData):
    """HDF5 files of embeddings made elsewhere; ``model`` names what made them, ``sequences`` is their FASTA file."""

    kind: str = "vectors"
    model: str | None = None
    sequences: str | None = None


DATA_KINDS = {"cells": CellData, "proteins": ProteinData, "vectors": VectorData}

SaeArchitecture = make_dataclass(
    "SaeArchitecture",
    [(f.name, get_type_hints(Architecture)[f.name], field(default=f.default)) for f in fields(Architecture)],
)
"""The fields of `Architecture`, open to overrides."""


@dataclass
class Autoencoder:
    """An SAE variant: its name, the layer it reads, its width relative to d_in, its options and its numbers.

    ``target_layer`` is a number, or for `biosae train` a list of which each gets an SAE of its own.
    """

    variant: str = MISSING
    target_layer: Any = MISSING
    dictionary_multiplier: float = MISSING
    architecture: SaeArchitecture = field(default_factory=SaeArchitecture)
    hyperparams: dict[str, Any] = MISSING


@dataclass
class Buffer:
    """Where activations wait: ``store`` on disk (made once, shared by runs) or ``stream`` (computed each epoch)."""

    kind: str = MISSING
    buffer_tokens: int = MISSING
    tokens_per_batch: int = MISSING
    cache: str | None = None
    dtype: str = "float16"
    also_layers: list[int] = field(default_factory=list)


Training = make_dataclass(
    "Training",
    [(name, kind, field(default=MISSING)) for name, kind in get_type_hints(TrainerSettings).items() if name != "lr"],
)
"""The fields of `TrainerSettings`; the learning rate stands with the variant, ``sae.hyperparams.lr``."""


@dataclass
class Experiment:
    """Runs land in ``root/number/timestamp``; a held-out evaluation every ``eval_steps`` steps.

    ``resume`` continues a run of the same settings that was cut off, from a checkpoint every ``checkpoint_seconds``.
    ``saes_per_pass`` bounds how many SAEs of a sweep are in memory and learn from the same batches.
    """

    root: str = MISSING
    number: str = MISSING
    eval_steps: int = MISSING
    checkpoint_seconds: float = MISSING
    resume: bool = MISSING
    saes_per_pass: int = MISSING


@dataclass
class SaeCheckpoint:
    """The run that a later stage reads; ``latest`` is the newest of its experiment.

    ``others`` are the runs of the same experiment that `biosae stability` compares it with.
    """

    experiment: str = MISSING
    timestamp: str = MISSING
    others: list[str] = MISSING


@dataclass
class Analysis:
    """Which scores to compute, against what, and the size of their nulls.

    ``label_keys`` replaces the labels of the run. ``gene_sets`` are GMT or JSON files tested beside the shipped sets,
    ``gene_families`` files with further families. ``map_decoder`` adds a UMAP of the decoder. ``controls`` scores
    simpler axes, an SAE with a frozen decoder and SAEs of random hosts by the same code.
    """

    label_keys: list[str] | None = MISSING
    run_label_scoring: bool = MISSING
    run_gene_scoring: bool = MISSING
    run_expression_scoring: bool = MISSING
    run_density_scoring: bool = MISSING
    controls: bool = MISSING
    n_permutations: int = MISSING
    gene_sets: list[str] = MISSING
    gene_families: list[str] = MISSING
    map_decoder: bool = MISSING


@dataclass
class ChooseFeatures:
    """Which features are edited; ``score`` is a column ``analysis/metric`` of scores.csv."""

    by: str = MISSING
    score: str | None = None
    descending: bool = MISSING
    features: list[int] = MISSING
    file: str | None = None


@dataclass
class SteerPerturbation:
    """``key`` is the obs column that holds the values ``control`` and ``treated``."""

    key: str | None = None
    control: str | None = None
    treated: str | None = None
    strengths: list[float] = MISSING


@dataclass
class Steer:
    """What is done to the chosen features in the forward pass, and what stands beside it; see docs/steering.md."""

    choose: ChooseFeatures = field(default_factory=ChooseFeatures)
    target: str | None = None
    n_features_list: list[int] = MISSING
    operation: str = MISSING
    values: list[float] = MISSING
    unit: str = MISSING
    where: str = MISSING
    error: str = MISSING
    seeds: list[int] = MISSING
    baselines: list[str] = MISSING
    parts: list[str] = MISSING
    off_target_samples: int = MISSING
    perturbation: SteerPerturbation = field(default_factory=SteerPerturbation)


@dataclass
class Benchmark:
    """Which samples, columns and methods an integration benchmark scores; see docs/integration.md."""

    batch_key: str | None = None
    label_key: str | None = None
    parts: list[str] = MISSING
    max_cells: int = MISSING
    context: list[str] = MISSING
    context_cells: int = MISSING
    n_halves: int = MISSING
    kbet: bool = MISSING
    n_neighbours: int = MISSING


@dataclass
class Compare:
    """The variants of `biosae compare` (files of config/sae) and what they share in place of their own settings."""

    saes: list[str] = MISSING
    dictionary_multiplier: float = MISSING
    architecture: SaeArchitecture = field(default_factory=SaeArchitecture)
    hyperparams: dict[str, Any] = MISSING


@dataclass
class Report:
    """``one_file`` writes report.html, everything in one file, instead of the folder report/; both in ``folder``."""

    one_file: bool = MISSING
    folder: str | None = None


@dataclass
class Config:
    """Everything that a command can be told."""

    data: Data = MISSING
    scfm: Any = MISSING
    plm: Any = MISSING
    sae: Autoencoder = MISSING
    buffer: Buffer = MISSING
    training: Training = MISSING
    tracker: Any = MISSING
    experiment: Experiment = field(default_factory=Experiment)
    sae_checkpoint: SaeCheckpoint = field(default_factory=SaeCheckpoint)
    analysis: Analysis = field(default_factory=Analysis)
    steer: Steer = field(default_factory=Steer)
    benchmark: Benchmark = field(default_factory=Benchmark)
    report: Report = field(default_factory=Report)
    compare: Compare | None = None
    stages: list[str] = MISSING
    seed: int = MISSING
    device: str = MISSING


def register() -> None:
    """Makes the classes known to Hydra; base.yaml and the files of the group data name them in their defaults."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for kind, node in DATA_KINDS.items():
        store.store(group="data/kind", name=kind, node=node)
