"""The settings of a run: every section, its fields and their defaults.

The command line fills them from its configuration, and ``config.yaml`` of a run folder keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from biosae.errors import SettingError
from biosae.saes.architecture import Architecture
from biosae.training.settings import TrainerSettings

from .data_settings import Data, pbmc


@dataclass
class SaeSettings:
    """An SAE variant, the layer it reads, its number of features as a multiple of d_in, and its own settings.

    ``target_layer`` may be a list for training: each layer gets an SAE. ``hyperparams`` may hold ``lr``.
    """

    variant: str
    target_layer: Any = -2
    dictionary_multiplier: float = 8.0
    architecture: Architecture = field(default_factory=Architecture)
    hyperparams: dict[str, Any] = field(default_factory=dict)


@dataclass
class BufferSettings:
    """Where activations wait: ``store`` on disk (made once, shared by runs) or ``stream`` (computed each epoch)."""

    kind: str = "store"
    buffer_tokens: int = 262_144  # rows shuffled together
    tokens_per_batch: int = 16_384  # padded tokens in one forward pass of the model
    cache: str | None = None  # folder of the store; None: activations/ in the root of experiments
    dtype: str = "float16"  # or bfloat16, float32
    also_layers: list[int] = field(default_factory=list)  # kept by the same forward passes, for later runs

    def __post_init__(self):
        for name in ("buffer_tokens", "tokens_per_batch"):
            if not getattr(self, name) >= 1:
                raise SettingError(f"{name} must be at least 1, got {getattr(self, name)}", argument=name)


@dataclass
class ExperimentSettings:
    """Where runs are written (``root/number/timestamp``), how often they are evaluated, and whether they resume."""

    root: str = "runs"
    number: str = "0"
    eval_steps: int = 100
    checkpoint_seconds: float = 60  # what a killed run loses at most
    saes_per_pass: int = 8  # SAEs of a sweep that are in memory and learn from the same batches
    resume: bool = True  # continue a run of the same settings that was cut off; False always starts a new one

    def __post_init__(self):
        if not self.checkpoint_seconds >= 0:
            message = f"checkpoint_seconds must be at least 0, got {self.checkpoint_seconds}"
            raise SettingError(message, argument="checkpoint_seconds")


@dataclass
class RunChoice:
    """The run that a later stage reads, and those of the same experiment that it is compared with."""

    experiment: str | None = None  # None: the number of the experiment
    timestamp: str = "latest"  # or one such as Jan29-10-00
    others: list[str] = field(default_factory=list)


@dataclass
class AnalysisSettings:
    """The scores to compute, and the size of their nulls."""

    label_keys: list[str] | None = None  # columns of obs to score against; None: those of the run
    run_label_scoring: bool = True
    run_gene_scoring: bool = True
    run_expression_scoring: bool = True
    run_density_scoring: bool = True
    run_explanations: bool = True  # names of features with a held-out fidelity: tables/explanations.csv
    controls: bool = False  # True also scores simpler axes, a frozen decoder and random hosts: controls.csv, minutes
    n_permutations: int = 1000  # of the labels, for the null of the best feature
    max_samples: int | None = 15_000  # of each part that scores of samples are computed on; None: all
    gene_sets: list[str] = field(default_factory=list)  # GMT or JSON files, beside the sets of the package
    gene_families: list[str] = field(default_factory=list)  # GMT or JSON files, beside the usual families
    residue_protocol: str = "domains"  # recall on residues by domain, by residue ("residues"), or as "interplm" counts
    map_decoder: bool = False  # True adds a UMAP of the decoder directions (extra sc)


@dataclass
class ExplainSettings:
    """Examples of features for language models or people, and the descriptions that come back."""

    export: str | None = None  # JSON lines to write; the questions go beside them
    descriptions: str | None = None  # CSV to score: feature, description
    answers: str | None = None  # CSV to score: feature, sample, prediction
    features: list[int] | None = None  # to export; None: all
    n_examples: int = 10  # of each kind

    def __post_init__(self):
        if not self.n_examples >= 1:
            raise SettingError(f"n_examples must be at least 1, got {self.n_examples}", argument="n_examples")


@dataclass
class ChooseFeatures:
    """The features that are edited."""

    by: str = "score"  # score, random, list (of features below) or file (one feature per line)
    score: str | None = None  # analysis/metric of scores.csv; None: label:<target>/ami on train and select samples
    descending: bool = True
    features: list[int] = field(default_factory=list)
    file: str | None = None


@dataclass
class SteerPerturbation:
    """Steering of control samples toward treated ones: an obs column and two of its values."""

    key: str | None = None
    control: str | None = None
    treated: str | None = None
    strengths: list[float] = field(default_factory=lambda: [0.5, 1.0, 1.5, 2.0, 3.0])  # of the measured difference


@dataclass
class SteerSettings:
    """What is done to the chosen features in the forward pass, and the baselines beside it."""

    choose: ChooseFeatures = field(default_factory=ChooseFeatures)
    target: str | None = None  # obs column to bring together; None: that of the score, else donor or batch
    n_features_list: list[int] = field(default_factory=lambda: [10, 30, 100])  # of a list or file also all
    operation: str = "ablate"  # ablate, clamp (to a value), scale (by) or add
    values: list[float] = field(default_factory=lambda: [0.0])  # the dose
    unit: str = "scale"  # of a value of clamp and add: the feature's mean active code, or absolute
    where: str = "all"  # all tokens, or only those where the feature is active
    error: str = "keep"  # what the SAE does not explain: keep, or replace activations by the reconstruction
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])  # of random features and directions
    baselines: list[str] = field(
        default_factory=lambda: ["matched_features", "random_direction", "difference_in_means", "centring"]
    )
    parts: list[str] = field(default_factory=lambda: ["validate", "test"])  # to embed; effects are read on test
    off_target_samples: int = 200  # test samples on which other features are read
    perturbation: SteerPerturbation = field(default_factory=SteerPerturbation)


@dataclass
class BenchmarkSettings:
    """The samples, columns and methods that an integration benchmark scores."""

    batch_key: str | None = None  # obs column to mix; None: the donor or batch column of the run
    label_key: str | None = None  # obs column to keep apart; None: the first label that is not nested with the batch
    parts: list[str] = field(default_factory=lambda: ["validate", "test"])  # of those that chose no feature
    max_cells: int = 3000  # more are thinned, evenly over batch x label
    context: list[str] = field(default_factory=lambda: ["pca", "harmony"])  # methods on the counts; also scvi
    context_cells: int = 20_000  # cells those are fitted on
    n_halves: int = 20  # random halves of the samples behind each interval; 0: no intervals
    kbet: bool = False  # True adds kBET to batch correction: compiles for a minute, then seconds per scoring
    n_neighbours: int = 15  # that vote in label transfer


@dataclass
class ReportSettings:
    """``one_file`` writes report.html in place of the folder report/; ``folder`` is where, None: in the run folder."""

    one_file: bool = False
    folder: str | None = None


@dataclass
class CompareSettings:
    """The variants of a comparison and what they share in place of their own settings.

    ``variants`` has settings of single ones by name, in place of the shared: ``dictionary_multiplier``,
    ``architecture`` and ``hyperparams``.
    """

    saes: list[str] = field(default_factory=lambda: ["standard", "topk", "gumbeltopk"])
    dictionary_multiplier: float = 2.0
    architecture: Architecture = field(default_factory=Architecture)
    hyperparams: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, Any] = field(default_factory=dict)


def _geneformer_mini() -> dict[str, Any]:
    return {"loader": "geneformer", "model_dir": "builtin:geneformer-mini"}


@dataclass
class Settings:
    """All settings of a run.

    Attributes
    ----------
    scfm, plm
        The model of cells and that of proteins: the name of its loader, the loader's arguments and ``precision``.
    tracker
        ``kind``, and the arguments of that tracker.
    stages
        What `biosae.pipeline.run.run` does.
    """

    data: Data = field(default_factory=pbmc)
    scfm: dict[str, Any] = field(default_factory=_geneformer_mini)
    plm: dict[str, Any] = field(default_factory=dict)
    sae: SaeSettings = field(default_factory=lambda: SaeSettings("topk", hyperparams={"k": 32}))
    buffer: BufferSettings = field(default_factory=BufferSettings)
    training: TrainerSettings = field(default_factory=lambda: TrainerSettings(lr=None))
    tracker: dict[str, Any] = field(default_factory=lambda: {"kind": "csv"})
    experiment: ExperimentSettings = field(default_factory=ExperimentSettings)
    sae_checkpoint: RunChoice = field(default_factory=RunChoice)
    analysis: AnalysisSettings = field(default_factory=AnalysisSettings)
    explain: ExplainSettings = field(default_factory=ExplainSettings)
    steer: SteerSettings = field(default_factory=SteerSettings)
    benchmark: BenchmarkSettings = field(default_factory=BenchmarkSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    compare: CompareSettings | None = None
    stages: list[str] = field(default_factory=lambda: ["train", "features", "analyze", "report"])
    seed: int = 0
    device: str = "auto"  # auto, cpu, cuda, cuda:1, ...

    def __post_init__(self):
        if not 0 <= self.seed < 1 << 63:
            raise SettingError(f"seed must be between 0 and 2^63 - 1, got {self.seed}", argument="seed")

    @property
    def model(self) -> dict[str, Any] | None:
        """Settings of the model that reads the data; None where the data are its output."""
        return {"cells": self.scfm, "proteins": self.plm}.get(self.data.kind)

    @property
    def cache(self) -> str:
        """Folder of stored activations."""
        return self.buffer.cache or f"{self.experiment.root}/activations"
