"""The feature list: every column of scores.csv, packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .genes import GeneIndex
from .names import feature_names
from .run_folder import RunFolder
from .shards import packed

N_SEARCHED_GENES = 10


def feature_list(run: RunFolder, genes: GeneIndex) -> dict[str, Any]:
    """Names, top genes and all scores of every feature, column by column."""
    names = feature_names(run)
    return {
        "n": run.d_sae,
        "names": [name.text for name in names],
        "reasons": [name.reason for name in names],
        "max_code": packed(run.table.var["max_code"].to_numpy(), "f4"),
        "columns": [column for analysis in _analyses(run) for column in _columns(analysis, run.scores[analysis])],
        "n_top_genes": N_SEARCHED_GENES,
        "top_genes": packed(genes.top(run.d_sae, N_SEARCHED_GENES), "i4"),
    }


def _analyses(run: RunFolder) -> list[str]:
    return list(dict.fromkeys(run.scores.columns.get_level_values(0)))


def _columns(analysis: str, scores: pd.DataFrame) -> list[dict[str, Any]]:
    scores = scores.drop(columns="top_genes", errors="ignore")  # the gene index has them
    if {"auroc", "null_auroc"} <= set(scores.columns):
        scores.insert(scores.columns.get_loc("null_auroc") + 1, "above_null", scores["auroc"] - scores["null_auroc"])
    return [_column(analysis, metric, scores[metric]) for metric in scores.columns]


def _column(analysis: str, metric: str, values: pd.Series) -> dict[str, Any]:
    column = {"analysis": analysis, "metric": metric}
    if pd.api.types.is_numeric_dtype(values):
        return column | {"kind": "number", "values": packed(values.to_numpy(dtype=float), "f4")}
    codes, categories = pd.factorize(values.astype(object), sort=False)
    codes = codes.astype(np.int32)  # -1 where a feature has no value
    return column | {"kind": "text", "categories": [str(name) for name in categories], "values": packed(codes, "i4")}
