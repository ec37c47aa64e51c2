"""A short name for every feature from its best supported annotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .run_folder import ALPHA, RunFolder

UNNAMED = "unnamed"
DOMINANT_SHARE = 0.5  # a gene with more than half of the activation is what the feature is about


@dataclass(frozen=True)
class FeatureName:
    """What a feature is called, and why.

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
    return ((label["q_value"] <= ALPHA) & (label["auroc"] > label["null_auroc"])).to_numpy()


def feature_names(run: RunFolder) -> list[FeatureName]:
    """One name a feature: the site or domain that it marks, or else the supported class with the highest held-out
    AUROC; the dominant gene or residue; or both.

    Enriched gene sets name nothing: matched random gene lists are enriched nearly as often.
    """
    marked = [site or label for site, label in zip(_sites(run), _best_classes(run), strict=True)]
    return [_name(*found) for found in zip(marked, _dominant_genes(run), strict=True)]


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
    """What each feature marks on residues, where its F1 lies above the null of the best feature."""
    if run.score("residues", "concept") is None:
        return [None] * run.d_sae
    rows = run.scores["residues"]
    holds = (rows["q_value"] <= ALPHA) & (rows["f1"] > rows["null_f1"])
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
