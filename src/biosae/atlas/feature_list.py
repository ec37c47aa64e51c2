"""The list of features: a short name from the best supported annotation, and every column of scores.csv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from biosae.analysis.stats.permutation_tests import SIGNIFICANT_Q

from .expressed_genes import ExpressionTables
from .gene_index import GeneIndex
from .page_data import packed
from .run_folder import RunFolder

UNNAMED = "unnamed"
N_SEARCHED_GENES = 10
DOMINANT_SHARE = 0.5  # a gene with more than half of the activation is what the feature is about


@dataclass(frozen=True)
class FeatureName:
    """Name of a feature, and the reason for it.

    Attributes
    ----------
    text
        Such as ``B cells``, ``B cells (CD79A)``, ``CD79A`` or ``unnamed``.
    reason
        One sentence with the numbers behind it.
    """

    text: str
    reason: str


def supported(scores: pd.DataFrame, key: str) -> np.ndarray:
    """``(d_sae,) bool``: the features that mark a class of a label column.

    A feature counts when its corrected p-value is at most 0.05 and its held-out AUROC lies above the
    null of the best class over permuted labels.
    """
    label = scores[f"label:{key}"]
    return ((label["q_value"] <= SIGNIFICANT_Q) & (label["auroc"] > label["null_auroc"])).to_numpy()


def feature_names(run: RunFolder) -> list[FeatureName]:
    """One name per feature: the site or domain that it marks, or else the name of its explanation.

    Where nothing was explained it is the supported class with the highest held-out AUROC, the dominant gene or
    residue, or both. Enriched gene sets name nothing: matched random gene lists are enriched nearly as often.
    """
    if run.explanations is not None:
        return _explained(run)
    marked = [site or label for site, label in zip(_sites(run), _best_classes(run), strict=True)]
    return [_name(*found) for found in zip(marked, _dominant_genes(run), strict=True)]


def _explained(run: RunFolder) -> list[FeatureName]:
    explained = run.explanations.set_index("feature").reindex(range(run.d_sae))
    names = [
        FeatureName(name, sentence) if isinstance(name, str) else FeatureName(UNNAMED, "It was not explained.")
        for name, sentence in zip(explained["name"], explained["sentence"], strict=True)
    ]
    sites = _sites(run)
    return [
        FeatureName(site[0], f"{site[1]}. {name.reason}") if site else name
        for site, name in zip(sites, names, strict=True)
    ]


def _name(label: tuple[str, str] | None, gene: tuple[str, float] | None) -> FeatureName:
    text, reasons = "", []
    if label is not None:
        text = label[0]
        reasons.append(label[1])
    if gene is not None:
        text = f"{text} ({gene[0]})" if text else gene[0]
        reasons.append(f"{gene[0]} carries {gene[1]:.0%} of its activation")
    if not text:
        return FeatureName(UNNAMED, "No class passes its null, and no single token carries most of the activation.")
    return FeatureName(text, "; ".join(reasons) + ".")


def _sites(run: RunFolder) -> list[tuple[str, str] | None]:
    """Site or domain that each feature marks, where its F1 lies above the null of the best feature."""
    if run.score("residues", "concept") is None:
        return [None] * run.d_sae
    rows = run.scores["residues"]
    holds = (rows["q_value"] <= SIGNIFICANT_Q) & (rows["f1"] > rows["null_f1"])
    return [
        (str(row["concept"]), _site_reason(row)) if held else None
        for held, (_, row) in zip(holds, rows.iterrows(), strict=True)
    ]


def _site_reason(row: pd.Series) -> str:
    return f"marks {row['concept']}: held-out F1 {row['f1']:.2f} (null {row['null_f1']:.2f}), q = {row['q_value']:.2g}"


def _best_classes(run: RunFolder) -> list[tuple[str, str] | None]:
    best: list[tuple[str, str] | None] = [None] * run.d_sae
    score = np.full(run.d_sae, -np.inf)
    batch_key = run.settings["data"].get("batch_key")
    for key in run.label_keys:
        label = run.scores[f"label:{key}"]
        for feature in np.flatnonzero(supported(run.scores, key)):
            row = label.iloc[feature]
            if row["auroc"] > score[feature]:
                score[feature] = row["auroc"]
                name = f"{key} {row['class']}" if key == batch_key else str(row["class"])
                best[feature] = (name, _label_reason(key, row))
    return best


def _label_reason(key: str, row: pd.Series) -> str:
    return (
        f"marks {key.replace('_', ' ')} {row['class']}: held-out AUROC {row['auroc']:.2f} "
        f"(null {row['null_auroc']:.2f}), q = {row['q_value']:.2g}"
    )


def _dominant_genes(run: RunFolder) -> list[tuple[str, float] | None]:
    top, share = run.score("genes", "top_genes"), run.score("genes", "top_share")
    if top is None or share is None:
        return [None] * run.d_sae
    first = top.fillna("").astype(str).str.split(";").str[0].str.strip()
    return [
        (gene, value) if gene and value > DOMINANT_SHARE else None for gene, value in zip(first, share, strict=True)
    ]


def feature_list(run: RunFolder, genes: GeneIndex, expressed: ExpressionTables) -> dict[str, Any]:
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
        "expressed": packed(expressed.top(run.d_sae, N_SEARCHED_GENES), "i4") if expressed.exist else None,
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
