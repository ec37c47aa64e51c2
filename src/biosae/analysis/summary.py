"""What a reader wants first of each analysis, as plain values for analysis.json."""

from __future__ import annotations

import numpy as np
import pandas as pd

from biosae.analysis.labels.marking import LabelScores

MARKER_COLUMNS = (
    *("class", "feature", "auroc_select", "auroc", "auroc_low", "auroc_high", "null_auroc", "p_value", "q_value"),
    "n_positive_test",
)
CONTINUOUS_COLUMNS = ("spearman_select", "spearman", "null_spearman", "p_value", "q_value")
SIGNIFICANT_Q = 0.05
GENES_IN_SUMMARY = 5


def label_summary(scores: LabelScores, genes: pd.DataFrame | None) -> dict:
    """The marker of every class with its held-out score, its null and its leading genes.

    Parameters
    ----------
    genes
        The columns ``genes`` of scores.csv, when genes were scored.
    """
    markers = scores.markers[list(MARKER_COLUMNS)].to_dict("records")
    for marker in markers:
        named = genes.loc[marker["feature"], "top_genes"] if genes is not None else None
        marker["top_genes"] = named.split(";")[:GENES_IN_SUMMARY] if isinstance(named, str) else []
    return {
        "n_features": int(scores.best["class"].notna().sum()),
        "n_significant": int((scores.best["q_value"] < SIGNIFICANT_Q).sum()),
        "n_tests": scores.n_tests,
        "classes": [plain(marker) for marker in markers],
        "classes_left_out": scores.left_out,
    }


def continuous_summary(scores: pd.DataFrame) -> dict:
    """The feature that follows the numbers best on the select samples, with its held-out correlation."""
    strength = scores["spearman_select"].abs()
    best = None
    if strength.notna().any():
        feature = int(strength.idxmax())
        best = plain({"feature": feature, **scores.loc[feature, list(CONTINUOUS_COLUMNS)].to_dict()})
    return {
        "n_features": int(scores["spearman"].notna().sum()),
        "n_significant": int((scores["q_value"] < SIGNIFICANT_Q).sum()),
        "n_tests": int(scores["p_single"].notna().sum()),
        "best": best,
    }


def plain(record: dict) -> dict:
    """JSON has no NaN: undefined numbers are null."""
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in record.items()}
