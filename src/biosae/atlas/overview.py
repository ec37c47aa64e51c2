"""Numbers of the first page: settings, quality of the SAE, and findings beside their nulls."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import best_of_classes
from biosae.analysis.stats.permutation_tests import SIGNIFICANT_Q

from .caveats import caveats
from .feature_list import supported
from .page_data import number
from .run_folder import RunFolder

CURVES = ("fvu", "l0", "dead_fraction")
SITE_SCORES = ("f1", "precision", "recall", "null_f1", "p_value", "residue_f1")
MARKER_SCORES = ("auroc_select", "auroc", "auroc_low", "auroc_high", "null_auroc", "q_value")
N_BINS = 36
LOWEST_FREQUENCY = 1e-5


def overview(run: RunFolder, beside: list[dict[str, Any]]) -> dict[str, Any]:
    """Content of the first page as JSON; ``beside`` is the frontier of the runs beside it."""
    return {
        "settings": run.settings,
        "evaluation": {name: number(value) for name, value in (run.evaluation or {}).items()},
        "curves": training_curves(run.metrics),
        "frontier": beside,
        "density": firing_histogram(run),
        "labels": [label_overview(run, key) for key in run.label_keys],
        "sites": sites(run),
        "enrichment": enrichment_overview(run),
        "explanations": ((run.analysis or {}).get("summary") or {}).get("explanations"),
        "stability": ((run.analysis or {}).get("summary") or {}).get("stability"),
        "concerns": [asdict(caveat) for caveat in caveats(run)],
    }


def training_curves(metrics: pd.DataFrame | None) -> list[dict[str, Any]]:
    """One curve per quantity and split: ``name``, ``split``, ``tokens``, ``values``; empty values are left out."""
    if metrics is None:
        return []
    curves = []
    for name in (name for name in CURVES if name in metrics.columns):
        for split, rows in metrics.dropna(subset=[name]).groupby("split", sort=True):
            tokens, values = rows["tokens"].astype(float).tolist(), rows[name].astype(float).tolist()
            curves.append({"name": name, "split": split, "tokens": tokens, "values": values})
    return curves


def firing_histogram(run: RunFolder) -> dict[str, Any]:
    """Count features by the share of tokens where they are active: log-spaced ``edges``, ``counts``, and ``dead``."""
    frequency = run.table.var["frequency_token"].to_numpy(dtype=float)
    alive = frequency[frequency > 0]
    edges = np.geomspace(LOWEST_FREQUENCY, 1, N_BINS + 1)
    counts, _ = np.histogram(np.clip(alive, LOWEST_FREQUENCY, 1), edges)
    return {"edges": edges.tolist(), "counts": counts.tolist(), "dead": int((frequency == 0).sum())}


def label_overview(run: RunFolder, key: str) -> dict[str, Any]:
    """Number of features that mark a class of a label column, beside chance, and the best feature of every class.

    ``classes_by_chance`` is how many classes would have such a feature if no feature knew the labels:
    the null of each class is exceeded by the best of all features in one permutation of twenty.
    ``untested`` is the reason that no test was possible, or None.
    """
    analysed = (((run.analysis or {}).get("summary") or {}).get("labels") or {}).get(key) or {}
    label = run.scores[f"label:{key}"]
    best = _markers(run, key)
    return {
        "key": key,
        "n_tested": int(label["auroc"].notna().sum()),
        "n_supported": int(supported(run.scores, key).sum()),
        "n_classes": len(best),
        "classes_by_chance": SIGNIFICANT_Q * len(best),
        "untested": analysed.get("untested"),
        "best": best,
    }


def sites(run: RunFolder) -> list[dict[str, Any]]:
    """The feature that marks each annotated site or domain best on the select proteins, with its scores on test."""
    summary = ((run.analysis or {}).get("summary") or {}).get("residues") or {}
    return [
        {"concept": row["concept"], "feature": int(row["feature"]), "residue": row["residue"]}
        | {name: number(row[name]) for name in SITE_SCORES}
        for row in summary.get("concepts", [])
    ]


def enrichment_overview(run: RunFolder) -> dict[str, Any] | None:
    """Share of features with an enriched gene set, beside that of matched random lists; None when not tested."""
    summary = ((run.analysis or {}).get("summary") or {}).get("enrichment")
    if summary is None:
        return None
    return {name: number(summary.get(name)) for name in ("annotated_share", "matched_share", "n_sets")}


def _markers(run: RunFolder, key: str) -> list[dict[str, Any]]:
    """The feature that marks each class best on the select samples, with its scores on the test samples.

    analysis.json knows the best of all features; scores.csv only that of the features whose own best
    class it is.
    """
    summary = ((run.analysis or {}).get("summary") or {}).get("labels") or {}
    if key in summary:
        rows = summary[key]["classes"]
    else:
        rows = best_of_classes(run.scores, key).to_dict("records")
    return [
        {"class": str(row["class"]), "feature": int(row["feature"])}
        | {name: number(row[name]) for name in MARKER_SCORES}
        for row in rows
    ]
