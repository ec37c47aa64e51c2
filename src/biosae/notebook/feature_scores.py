"""Scores of a run folder as columns of its AnnData of features."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.results import SCORES, read_scores
from biosae.features.feature_table import read_feature_table
from biosae.features.origin import FEATURES

LABEL = "label:"


def read_features(folder: Path) -> anndata.AnnData:
    """Return features.h5ad of a folder, which ``uns["biosae"]["folder"]`` names."""
    table = read_feature_table(folder / FEATURES)
    table.uns["biosae"]["folder"] = str(folder)
    return table


def with_scores(adata: anndata.AnnData, folder: Path) -> anndata.AnnData:
    """Add the scores of a folder, where there are some.

    ``var`` gets a column for each score (``cell_type_auroc``, ``genes_top_genes``), ``varm`` a table per analysis, and
    the layer ``on`` the codes above the threshold of the feature's class.
    """
    if not (folder / SCORES).exists():
        return adata
    scores = read_scores(folder)
    for analysis in scores.columns.unique(0):
        own = scores[analysis].apply(typed).set_axis(adata.var_names, axis=0)
        name = analysis.removeprefix(LABEL).replace(":", "_").replace("/", "_")
        adata.varm[name] = own
        for metric in own:
            adata.var[f"{name}_{metric}"] = own[metric]
    first = next((analysis for analysis in scores.columns.unique(0) if analysis.startswith(LABEL)), None)
    if first is not None and "threshold" in scores[first]:
        adata.layers["on"] = above(adata.X, scores[first]["threshold"].apply(_number).to_numpy(float))
    return adata


def above(codes: sparse.csr_matrix, threshold: np.ndarray) -> sparse.csr_matrix:
    """Return the codes that reach the threshold of their feature; those of features without one, where they fire."""
    out = sparse.csr_matrix(codes, copy=True)
    out.data[out.data < np.nan_to_num(threshold)[out.indices]] = 0
    out.eliminate_zeros()
    return out


def typed(column: pd.Series) -> pd.Series:
    """Return a column of text as numbers where all of it are, else as categories; "" is missing."""
    known = column.where(column != "")
    numbers = pd.to_numeric(known, errors="coerce").astype(float)
    return numbers if numbers.notna().sum() == known.notna().sum() else known.astype("category")


def _number(text: str) -> float:
    return float(text) if text else np.nan
