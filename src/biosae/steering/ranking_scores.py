"""A score of every feature to choose by, from samples on which steering is not evaluated."""

from __future__ import annotations

import difflib
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import MIN_PER_CLASS, LabelledCodes, class_names
from biosae.analysis.stats.thresholds import adjusted_mutual_information, best_thresholds, counts_above
from biosae.artefacts import content_hash, read_json
from biosae.errors import ArtefactError, DataError, SettingError

from .activity import choosing_rows

ON_TEST = ("label:", "labels", "donors:", "residues")
"""Analyses of the test samples; a column that ends in ``_select`` is the same score of the select samples."""


def score_to_choose_by(name: str, run: Path, table: anndata.AnnData) -> np.ndarray:
    """``(d_sae,)`` the score ``analysis/metric``, NaN where a feature has none.

    ``label:<column>/ami`` is computed here, on the train and select samples. ``auroc``, ``spearman`` and the ``f1`` of
    residues are read from scores.csv in their ``_select`` form; scores without labels (density, genes, geometry) as
    they are there.

    Raises
    ------
    SettingError
        If there is no such score, or only one of the test samples.
    ArtefactError
        If scores.csv is missing or was made from other features.
    """
    analysis, _, metric = name.rpartition("/")
    if not analysis:
        raise SettingError(f"steer.choose.score must be written analysis/metric, such as label:batch/ami, got {name}")
    if analysis.startswith("label:") and metric in ("ami", "ami_select"):
        return label_ami(table, analysis.removeprefix("label:"))
    scores = read_scores(run)
    known = [f"{first}/{second}" for first, second in scores.columns]
    twin = f"{metric.removesuffix('_select')}_select"
    if name not in known and f"{analysis}/{twin}" not in known:
        raise SettingError(f"scores.csv has no column {name}; {_nearest(name, known)}")
    if analysis.startswith(ON_TEST):
        if f"{analysis}/{twin}" not in known:
            message = f"{name} is a score of the test samples, on which steering is evaluated; choose by"
            others = [other.removesuffix("_select") for other in known if other.endswith("_select")]
            others += [f"{first}/ami" for first in scores.columns.unique(0) if first.startswith("label:")]
            raise SettingError(f"{message} {' or '.join(others)}, which are not taken from the test samples")
        metric = twin
    column = scores[analysis][metric]
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise SettingError(f"{name} is text ({column.dropna().iloc[0]}); choose by a column of numbers")
    return column.to_numpy(dtype=np.float64)


def label_ami(table: anndata.AnnData, key: str) -> np.ndarray:
    """AMI of "the feature is on" with each class of a label on the train and select samples, the largest over classes.

    The threshold of "on" is the one of largest F1 there. NaN for a feature that is silent there.

    Raises
    ------
    DataError
        If the column is missing or fewer than two classes have enough of these samples.
    """
    if key not in table.obs:
        raise DataError(f"the features have no column {key}; they have {', '.join(map(str, table.obs.columns))}")
    text = class_names(table.obs[key])
    rows = choosing_rows(table)
    rows = rows[text[rows] != None]  # noqa: E711, elementwise
    counts = pd.Series(text[rows]).value_counts()
    classes = sorted(counts.index[counts >= MIN_PER_CLASS])
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        message = f"choosing by {key} needs two values with {MIN_PER_CLASS} train or select samples each, got {found}"
        raise DataError(f"{message}; use more samples or choose by another score")
    labelled = LabelledCodes.of(table.X.tocsr(), text, classes, rows)
    n_above, n_hits = counts_above(labelled.codes, labelled.member, best_thresholds(labelled.codes, labelled.member))
    ami = adjusted_mutual_information(n_hits, n_above, labelled.member.sum(axis=0), len(rows)).max(axis=1)
    return np.where(np.diff(labelled.codes.offsets) > 0, ami, np.nan)


def read_scores(run: Path) -> pd.DataFrame:
    """scores.csv of a run, if it belongs to the run's features."""
    path = Path(run) / "scores.csv"
    if not path.exists():
        raise ArtefactError(f"{path} does not exist; make it with `biosae analyze`")
    analysed = read_json(Path(run) / "analysis.json", made_by="the analyze stage").get("features_hash")
    if analysed != content_hash(Path(run) / "features.h5ad"):
        raise ArtefactError(f"{path} was made from other features; make it again with `biosae analyze`")
    return pd.read_csv(path, header=[0, 1], index_col=0)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    analyses = dict.fromkeys(column.rpartition("/")[0] for column in known)
    return f"did you mean {near[0]}?" if near else f"it has the analyses {', '.join(analyses)}"
