"""Results of the analyses of a run, and how they are written: scores.csv, tables/, analysis.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

from biosae.artefacts import (
    atomic_write,
    check_origin,
    content_hash,
    damaged,
    read_json,
    settings_hash,
    write_json,
)
from biosae.errors import ArtefactError
from biosae.features.origin import FEATURES

FORMAT = 1
SCORES, ANALYSIS = "scores.csv", "analysis.json"
MADE_BY = "the analyze stage"
HELD_OUT = "all held-out parts"


@dataclass
class Results:
    """Results of the analyses so far.

    Attributes
    ----------
    analyses
        Analysis name -> one row per feature: the columns of scores.csv.
    tables
        Name -> long table in ``tables/``.
    summary
        Summary of each analysis for analysis.json.
    samples
        Analysis name -> the samples that it was selected on and is reported on, for analysis.json.
    """

    analyses: dict[str, pd.DataFrame] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    samples: dict = field(default_factory=dict)

    def add(self, name: str, scores: pd.DataFrame, rows: np.ndarray) -> None:
        """Scores of ``rows`` for which nothing was selected."""
        self.analyses[name] = scores
        self.samples[name] = {
            "selected_on": None,
            "n_selected_on": 0,
            "reported_on": HELD_OUT,
            "n_reported_on": len(rows),
        }

    def add_selected(self, name: str, scores: pd.DataFrame, part: np.ndarray) -> None:
        """Scores selected on the samples of the part select and reported on those of the part test.

        ``part`` is that of the samples that count.
        """
        self.analyses[name] = scores
        n_select, n_test = int((part == "select").sum()), int((part == "test").sum())
        self.samples[name] = {
            "selected_on": "select",
            "n_selected_on": n_select,
            "reported_on": "test",
            "n_reported_on": n_test,
        }

    def scores(self) -> pd.DataFrame:
        """scores.csv."""
        if not self.analyses:
            return pd.DataFrame()
        return pd.concat(self.analyses, axis=1, names=["analysis", "metric"])


def write_results(out: Path, results: Results, table: anndata.AnnData, settings: dict, features_hash: str) -> None:
    """Writes tables/, scores.csv and analysis.json into ``out``, in this order.

    Earlier ones are removed first: whatever stops the writing, no scores lie beside the tables of other settings.
    """
    scores, record = Path(out) / SCORES, Path(out) / ANALYSIS
    for earlier in (record, scores, *(Path(out) / "tables").glob("*.csv")):
        earlier.unlink(missing_ok=True)
    for name, content in results.tables.items():
        _write_csv(Path(out) / "tables" / f"{name}.csv", content, index=False)
    _write_csv(scores, results.scores(), index=True)
    write_analysis(out, _record(results, table, settings, features_hash))


def write_analysis(folder: Path, record: dict[str, Any]) -> None:
    """Write analysis.json with the hashes of the tables that lie there, and one of its own content."""
    tables = [Path(folder) / SCORES, *sorted((Path(folder) / "tables").glob("*.csv"))]
    record = {key: value for key, value in record.items() if key not in ("hashes", "hash")}
    record = json.loads(
        json.dumps(record | {"hashes": {path.relative_to(folder).as_posix(): content_hash(path) for path in tables}})
    )
    write_json(Path(folder) / ANALYSIS, record | {"hash": settings_hash(record)})


def read_analysis(folder: Path) -> dict[str, Any]:
    """Return analysis.json of a run, if it and the tables beside it belong to the run's features.

    Raises
    ------
    ArtefactError
        If it is missing, damaged, of a newer biosae, or of other features or tables.
    """
    folder = Path(folder)
    record = read_json(folder / ANALYSIS, MADE_BY, {"features_hash?": str, "hashes?": {str: str}, "hash?": str}, FORMAT)
    if "hash" in record and record["hash"] != settings_hash({k: v for k, v in record.items() if k != "hash"}):
        raise ArtefactError(f"{folder / ANALYSIS} was changed since it was written; make it again with {MADE_BY}")
    if "features_hash" in record:
        check_origin(folder / SCORES, record["features_hash"], FEATURES, content_hash(folder / FEATURES), MADE_BY)
    for name, recorded in record.get("hashes", {}).items():
        if (folder / name).exists():
            check_origin(folder / ANALYSIS, recorded, name, content_hash(folder / name), MADE_BY)
    return record


def read_scores(folder: Path) -> pd.DataFrame:
    """Return scores.csv of a run as text, one row per feature, if it belongs to the run's features.

    Raises
    ------
    ArtefactError
        If it is missing, damaged, or of other features; the message names the stage that makes it.
    """
    path = Path(folder) / SCORES
    if not path.exists():
        raise ArtefactError(f"{path} does not exist; make it with {MADE_BY}")
    if (Path(folder) / ANALYSIS).exists():
        read_analysis(folder)
    try:
        table = pd.read_csv(path, header=[0, 1], index_col=0, dtype=str, keep_default_na=False)
        table.index = table.index.astype(int)
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise damaged(path, error, MADE_BY) from error
    return table


def _write_csv(path: Path, content: pd.DataFrame, index: bool) -> None:
    with atomic_write(path) as temporary:
        content.to_csv(temporary, index=index, float_format="%.9g")  # what float32 needs


def _record(results: Results, table: anndata.AnnData, settings: dict, features_hash: str) -> dict:
    return {
        "format": FORMAT,
        "features_hash": features_hash,
        "settings": settings,
        "split": table.obs["biosae_part"].astype(str).value_counts().to_dict(),
        "samples": results.samples,
        "n_samples_without_tokens": int((table.obs["biosae_n_tokens"] == 0).sum()),
        "n_tests": sum(
            entry["n_tests"] for kind in ("labels", "continuous") for entry in results.summary.get(kind, {}).values()
        ),
        "summary": results.summary,
    }


def without_nan(record: dict) -> dict:
    """The record with None for undefined numbers, as JSON has no NaN."""
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in record.items()}
