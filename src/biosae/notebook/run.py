"""A trained SAE with the folder that keeps its record, features and scores."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.feature_history import feature_history
from biosae.analysis.results import SCORES, read_scores
from biosae.errors import ArtefactError, DataError
from biosae.feature_names import feature_number
from biosae.features.origin import FEATURES, TOKEN_CODES
from biosae.features.token_codes import TokenCodes
from biosae.models.base import ModelAdapter
from biosae.pipeline.encode import encode
from biosae.pipeline.models import load_model
from biosae.pipeline.prepare import prepare
from biosae.pipeline.report import report
from biosae.pipeline.score import score
from biosae.pipeline.sequences import SequenceReader, open_sequence_reader
from biosae.run_record import RUN, read_evaluation, read_run
from biosae.runs.config_file import read_settings
from biosae.runs.settings import AnalysisSettings, ReportSettings, Settings
from biosae.saes import files, hub
from biosae.saes.base import SAE
from biosae.training.trainer import KEPT

from .activations import Activations
from .encoding import encode as encode_cells
from .feature_scores import read_features, typed, with_scores
from .gene_programmes import write_gmt
from .steering import steer

RUN_FILES = ("activations", "controls")  # of which a copy is no use


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder: what `biosae.train` and the command line make, and `biosae.load_run` opens.

    Attributes
    ----------
    folder
        The run folder.
    activations
        What it was trained on, where that is in memory; else it is read again when a stage needs it.
    """

    folder: Path
    activations: Activations | None = field(default=None, repr=False)

    @cached_property
    def sae(self) -> SAE:
        """The SAE."""
        read_run(self.folder)  # compares the weights
        sae = files.load(self.folder)
        sae.run_folder = self.folder
        return sae

    @property
    def evaluation(self) -> SimpleNamespace:
        """Held-out numbers: ``fvu``, ``l0``, ``dead_fraction``, ``cosine``, ``recovery_vs_mean``, ..."""
        return SimpleNamespace(**read_evaluation(self.folder))

    @property
    def metrics(self) -> pd.DataFrame:
        """Numbers of every evaluation while it trained."""
        return pd.read_csv(self.folder / "metrics.csv")

    def feature_history(self) -> pd.DataFrame:
        """Return how near each feature was to its last direction at the steps that ``keep_at`` kept.

        `biosae.pl.feature_history` draws it.

        Raises
        ------
        ArtefactError
            If no step was kept.
        """
        kept = {
            int(path.name): files.load(path).W_dec.detach().cpu().numpy() for path in (self.folder / KEPT).glob("*")
        }
        if not kept:
            raise ArtefactError(f"{self.folder} kept no step of training; train with keep_at=[0.1, 0.5, 1.0]")
        return feature_history(kept, self.sae.W_dec.detach().cpu().numpy())

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of every feature, with two levels of columns as in scores.csv."""
        if not (self.folder / SCORES).exists():
            self.score()
        return read_scores(self.folder).apply(typed)

    @property
    def settings(self) -> Settings:
        """The settings that it was trained with."""
        return read_settings(self.folder) if self.activations is None else self.activations.settings

    @cached_property
    def model(self) -> ModelAdapter:
        """The foundation model."""
        if self.activations is not None:
            return self.activations.prepared.adapter
        settings = self.settings
        if settings.model is None:
            raise DataError("this run has no model: it was trained on stored numbers")
        return load_model(settings.model, settings.device)

    def features(self) -> anndata.AnnData:
        """Return samples x features, with scores where there are some; the samples are encoded when that lacks."""
        if not (self.folder / FEATURES).exists():
            encode(self.folder, self.settings, self._prepared())
        return with_scores(read_features(self.folder), self.folder)

    def score(self, **settings: Any) -> pd.DataFrame:
        """Score every feature and return `scores`.

        Parameters
        ----------
        settings
            Those of `biosae.runs.settings.AnalysisSettings`, such as ``label_keys`` and ``n_permutations``.
        """
        if not (self.folder / FEATURES).exists():
            encode(self.folder, self.settings, self._prepared())
        score(self.folder, AnalysisSettings(**settings), self.settings.seed)
        return self.scores

    def report(self, folder: Path | str | None = None) -> Path:
        """Write the page and return its path; without a folder into that of the run."""
        if not (self.folder / SCORES).exists():
            self.score()
        return report(self.folder, ReportSettings(folder=None if folder is None else str(folder)))

    def encode(self, samples: anndata.AnnData | str) -> anndata.AnnData | pd.DataFrame:
        """Return the features of other cells (`biosae.tl.encode`), or of an amino-acid sequence residue by residue.

        Those of a sequence are a table: `biosae.pipeline.sequences.SequenceReader.encode`.
        """
        if isinstance(samples, str):
            return self._reader.encode(samples)
        return encode_cells(samples, self.model, self.sae)

    def compare(self, reference: str, variant: str, n_background: int = 18, seed: int = 0) -> pd.DataFrame:
        """Return how the features change from one sequence to another of the same length.

        See `biosae.pipeline.sequences.SequenceReader.compare`.

        Parameters
        ----------
        reference, variant
            Amino acids, one letter each.
        n_background
            Random substitutions at the same places.

        Raises
        ------
        DataError
            If the sequences do not differ, or not in substitutions alone.
        """
        return self._reader.compare(reference, variant, n_background, seed)

    def attach(self, adata: anndata.AnnData) -> None:
        """Add the pooled codes of the run's samples to an AnnData of the same cells, as ``obsm["X_sae"]``."""
        features = self.features()
        row = features.obs_names.get_indexer(adata.obs_names)
        if (row < 0).any():
            n = int((row < 0).sum())
            message = f"{n:,} of {adata.n_obs:,} cells are not among those of the run, such as"
            raise DataError(f"{message} {adata.obs_names[row < 0][0]}; encode them instead")
        adata.obsm["X_sae"] = features.X[row]

    def steer(
        self, adata: anndata.AnnData, features: dict[int | str, float], operation: str = "clamp"
    ) -> anndata.AnnData:
        """Return embeddings of edited cells; see `biosae.tl.steer`."""
        return steer(adata, self.model, self.sae, features=features, operation=operation)

    def features_for_gene(self, gene: str, n: int = 10) -> pd.DataFrame:
        """Return the features that read a gene or are expressed with it, the strongest first.

        Returns
        -------
        DataFrame
            ``feature``, ``why`` (``reads`` or ``expressed``) and ``strength``: share of the feature's activation on
            the gene, or correlation with its expression on test cells.
        """
        if not (self.folder / SCORES).exists():
            self.score()
        found = []
        for name, why, strength in (("genes", "reads", "share"), ("expressed_genes", "expressed", "effect")):
            table = self.table(name)
            if table is None or strength not in table:
                continue
            own = table[table["gene"].str.upper() == gene.upper()]
            found.append(
                own.assign(why=why, strength=own[strength])[["feature", "why", "strength"]].nlargest(n, "strength")
            )
        table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["feature", "why", "strength"])
        return table.assign(feature=[f"f{number}" for number in table["feature"]])

    def top_cells(self, feature: int | str, n: int = 10) -> pd.DataFrame:
        """Return the samples with the largest code of a feature, ``code``, which is the maximum over their tokens."""
        table = self.features()
        code = table.X[:, [feature_number(feature, table.n_vars)]].toarray().ravel()
        order = np.argsort(-code, kind="stable")[:n]
        return table.obs.iloc[order].assign(code=code[order])

    def describe(self, feature: int | str) -> pd.Series:
        """Return all scores of a feature."""
        scores = self.scores
        number = feature_number(feature, len(scores))
        row = scores.loc[number].dropna()
        return row.set_axis([f"{analysis}/{metric}" for analysis, metric in row.index]).rename(f"f{number}")

    def write_gmt(self, path: Path | str, n: int = 50) -> int:
        """Write the ``n`` genes that each feature reads most as gene sets (GMT), and return the number of sets."""
        return write_gmt(Path(path), self.table("genes"), n)

    def table(self, name: str) -> pd.DataFrame | None:
        """Return ``tables/<name>.csv``; None where that was not made."""
        path = self.folder / "tables" / f"{name}.csv"
        return pd.read_csv(path, keep_default_na=False, na_values=[""]) if path.exists() else None

    @property
    def token_codes(self) -> TokenCodes:
        """The code of every token."""
        return TokenCodes(self.folder / TOKEN_CODES)

    def save(self, folder: Path | str) -> Path:
        """Copy the run folder, but for stored activations and controls, and return the copy.

        Raises
        ------
        ArtefactError
            If something is there already.
        """
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ArtefactError(f"{target} is there already; choose a new folder", argument="folder")
        shutil.copytree(self.folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*RUN_FILES, ".lock"))
        return target

    def push_to_hub(self, repo_id: str, licence: str, **options: Any) -> str:
        """Upload the SAE with its card; see `biosae.saes.hub.push_to_hub`."""
        return hub.push_to_hub(self.folder, repo_id, licence, **options)

    @cached_property
    def _reader(self) -> SequenceReader:
        return open_sequence_reader(self.folder)

    def _prepared(self):
        return prepare(self.settings) if self.activations is None else self.activations.prepared


def load_run(folder: Path | str) -> Run:
    """Open a run folder.

    Parameters
    ----------
    folder
        That of a finished run, such as ``runs/0/Jan29-10-00``.

    Raises
    ------
    ArtefactError
        If there is no finished run, or a file is not the one that its record names.

    Examples
    --------
    >>> import biosae as bs, torch
    >>> x = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    >>> folder = bs.train(x, "topk", k=2, expansion=2).folder
    >>> bs.load_run(folder).sae.d_in
    8
    """
    folder = Path(folder).expanduser()
    if not (folder / RUN).exists():
        raise ArtefactError(f"{folder} holds no finished run (it has no {RUN})", argument="folder")
    read_run(folder)
    return Run(folder)
