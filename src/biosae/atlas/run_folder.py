"""The artefacts of one run, required and optional, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.geometry import read_decoder
from biosae.analysis.results import ANALYSIS, read_analysis, read_scores
from biosae.artefacts import damaged
from biosae.errors import ArtefactError
from biosae.features.feature_table import read_feature_table
from biosae.features.origin import TOKEN_CODES
from biosae.features.token_codes import TokenCodes
from biosae.run_record import EVALUATION, read_evaluation, read_run

TABLES = ("labels", "genes", "enrichment", "expressed_genes", "explanations", "explanations_tried")
TEXT_METRICS = ("class", "kind", "top_genes", "family", "set", "source", "name", "label", "terms")
TEXT_COLUMNS = (
    *("class", "gene", "identifier", "label", "split", "set", "source", "genes"),
    *("key", "method", "chooser", "operation", "unit", "where", "error", "metric"),
    *("part", "group_by", "group", "best_on_select", "model", "axes", "versus"),
    *("name", "kind", "terms", "is_explained", "sentence"),
)


@dataclass(frozen=True, eq=False)
class RunFolder:
    """Everything the report reads; an optional artefact that is absent is None.

    Attributes
    ----------
    settings
        run.json.
    table
        features.h5ad.
    scores
        scores.csv: one row per feature, columns (analysis, metric).
    evaluation, analysis
        evaluation.json and analysis.json.
    metrics, labels, genes, enrichment, expressed_genes, gene_coverage, explanations, explanations_tried
        metrics.csv and the tables of these names.
    token_codes
        The codes of single tokens.
    W_dec
        ``(d_sae, d_in) float32`` decoder, one row per feature.
    """

    folder: Path
    settings: dict[str, Any]
    table: anndata.AnnData
    scores: pd.DataFrame
    evaluation: dict[str, Any] | None
    analysis: dict[str, Any] | None
    metrics: pd.DataFrame | None
    labels: pd.DataFrame | None
    genes: pd.DataFrame | None
    enrichment: pd.DataFrame | None
    expressed_genes: pd.DataFrame | None
    explanations: pd.DataFrame | None
    explanations_tried: pd.DataFrame | None
    gene_coverage: pd.DataFrame | None
    token_codes: TokenCodes | None
    W_dec: np.ndarray | None

    @property
    def d_sae(self) -> int:
        return self.table.n_vars

    @property
    def label_keys(self) -> list[str]:
        """The columns of ``obs`` with classes that were scored, in the order of scores.csv, batches last."""
        scored = [analysis for analysis, metric in self.scores.columns if metric == "auroc"]
        keys = [analysis.removeprefix("label:") for analysis in scored if analysis.startswith("label:")]
        return sorted(keys, key=lambda key: key == self.settings["data"].get("batch_key"))

    def score(self, analysis: str, metric: str) -> pd.Series | None:
        """One column of scores.csv, None when that analysis was not run."""
        column = (analysis, metric)
        return self.scores[column] if column in self.scores.columns else None


def read_run_folder(folder: Path) -> RunFolder:
    """The artefacts in a run folder.

    Raises
    ------
    ArtefactError
        If run.json, features.h5ad or scores.csv is missing, or they are not of one size; the
        message names the stage that makes them.
    """
    folder = Path(folder)
    run = RunFolder(
        folder=folder,
        settings=read_run(folder),
        table=read_feature_table(folder / "features.h5ad"),
        scores=read_scores(folder).apply(_typed),
        evaluation=read_evaluation(folder) if (folder / EVALUATION).exists() else None,
        analysis=read_analysis(folder) if (folder / ANALYSIS).exists() else None,
        metrics=optional_csv(folder / "metrics.csv", "the train stage", ("step", "split")),
        **{name: optional_csv(folder / "tables" / f"{name}.csv", "the analyze stage", ("feature",)) for name in TABLES},
        gene_coverage=optional_csv(folder / "tables" / "gene_coverage.csv", "the analyze stage", ("n_expressing",)),
        token_codes=TokenCodes(folder / TOKEN_CODES) if (folder / TOKEN_CODES).exists() else None,
        W_dec=read_decoder(decoder) if (decoder := folder / "sae.safetensors").exists() else None,
    )
    _check_sizes(run)
    return run


def _check_sizes(run: RunFolder) -> None:
    sizes = {"scores.csv": (len(run.scores), "the analyze stage")}
    if run.token_codes is not None:
        sizes["token_codes"] = (run.token_codes.d_sae, "the features stage")
        if run.token_codes.n_samples != run.table.n_obs:
            message = f"token_codes are of {run.token_codes.n_samples} samples, features.h5ad of {run.table.n_obs}"
            raise ArtefactError(f"{message}; make both again with the features stage")
    if run.W_dec is not None:
        sizes["sae.safetensors"] = (len(run.W_dec), "the features stage")
    for name, (n, made_by) in sizes.items():
        if n != run.d_sae:
            message = f"{name} has {n} features, features.h5ad has {run.d_sae}"
            raise ArtefactError(f"{message}; they are of different runs, make them again with {made_by}")


def _typed(column: pd.Series) -> pd.Series:
    """Numbers where every entry is one; classes and genes stay text, also a cluster called 3 or a gene called NA."""
    values = column.where(column != "", None)
    if column.name[1] in TEXT_METRICS:
        return values
    try:
        return pd.to_numeric(values)
    except ValueError:
        return values


def optional_csv(path: Path, made_by: str, needed: tuple[str, ...] = ()) -> pd.DataFrame | None:
    """Return a CSV artefact with finite numbers in all columns but `TEXT_COLUMNS`; None when it is absent.

    Parameters
    ----------
    needed
        Columns that it must have, with a value in every row.
    """
    if not path.exists():
        return None
    # a gene called NA or NaN is a gene, an empty number is not one
    text = dict.fromkeys(TEXT_COLUMNS, str)
    try:
        table = pd.read_csv(path, dtype=text, keep_default_na=False, low_memory=False)
    except (OSError, ValueError) as error:
        raise damaged(path, error, made_by) from error
    numbers = [name for name in table.columns if name not in text]
    table = table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in numbers})
    table = table.replace([np.inf, -np.inf], np.nan)
    if lacking := [name for name in needed if name not in table or table[name].isna().any()]:
        raise damaged(path, f"its column {lacking[0]} is missing or has gaps", made_by)
    return table


def records(table: pd.DataFrame | None, columns: tuple[str, ...] | None = None) -> list[dict[str, Any]] | None:
    """The rows of a table as JSON, which knows no NaN; None for no table."""
    if table is None:
        return None
    rows = table if columns is None else table[list(columns)]
    return rows.astype(object).where(rows.notna(), None).to_dict("records")
