"""Figures of scores: which features mark which class, on which genes a feature fires, how often features fire."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from biosae.errors import SettingError
from biosae.report.overview import best_of_classes

from .axes import ACCENT, GREY, finish, new_axes

N_BINS = 36
MOST_LETTERS = 40  # of the name of a gene set


def markers(
    scores: pd.DataFrame, label: str, ax: Axes | None = None, show: bool = True, save: str | Path | None = None
) -> Axes:
    """The best feature of each class: its held-out AUROC with interval, and the null of the best of all features.

    Parameters
    ----------
    scores
        scores.csv, read with ``header=[0, 1], index_col=0``.
    label
        A scored column of obs.
    """
    if scores.columns.nlevels != 2:
        raise SettingError("scores.csv has two header rows: read it with pd.read_csv(path, header=[0, 1], index_col=0)")
    if (f"label:{label}", "auroc") not in scores.columns:
        scored = [
            analysis for analysis, metric in scores.columns if metric == "auroc" and analysis.startswith("label:")
        ]
        known = ", ".join(analysis.removeprefix("label:") for analysis in scored) or "none"
        raise SettingError(f"label must be one of {known}, got {label}")
    best = best_of_classes(scores, label).sort_values("auroc")
    ax = new_axes(ax, height=0.8 + 0.3 * len(best))
    row = np.arange(len(best))
    ax.hlines(row, best["auroc_low"], best["auroc_high"], color=ACCENT)
    ax.plot(best["auroc"], row, "o", color=ACCENT, label="test samples, 95 % interval")
    ax.plot(best["null_auroc"], row, "|", color="black", markersize=11, label="null of the best feature")
    names = [f"{name}  f{feature}" for name, feature in zip(best["class"], best["feature"], strict=True)]
    ax.set(yticks=row, yticklabels=names, xlabel="AUROC")
    ax.legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1))
    return finish(ax, show, save)


def classes(
    labels: pd.DataFrame,
    feature: int,
    label: str,
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
    """Held-out AUROC of one feature for every class; the class it was chosen for in colour.

    Parameters
    ----------
    labels
        tables/labels.csv.
    """
    rows = labels[(labels["feature"] == feature) & (labels["label"] == label)].sort_values("auroc")
    if rows.empty:
        raise SettingError(f"feature {feature} has no scores for the label {label}")
    chosen = rows["auroc_select"] == rows["auroc_select"].max()
    ax = new_axes(ax, height=0.6 + 0.3 * len(rows))
    ax.barh(rows["class"].astype(str), rows["auroc"], color=np.where(chosen, ACCENT, GREY))
    ax.axvline(0.5, color="black", linestyle=":", linewidth=1)
    ax.set(xlabel="AUROC on test samples (dotted: chance)", title=f"feature {feature}", xlim=(0, 1))
    return finish(ax, show, save)


def top_genes(
    genes: pd.DataFrame,
    feature: int,
    n: int = 15,
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
    """The genes that carry most of a feature's activation.

    Parameters
    ----------
    genes
        tables/genes.csv.
    """
    rows = genes[genes["feature"] == feature].nlargest(n, "share")[::-1]
    if rows.empty:
        raise SettingError(f"feature {feature} has no genes: it never fires, or genes were not scored")
    ax = new_axes(ax, height=0.6 + 0.22 * len(rows))
    ax.barh(rows["gene"], 100 * rows["share"], color=ACCENT)
    ax.set(xlabel="share of the summed activation (%)", title=f"feature {feature}")
    return finish(ax, show, save)


def enrichment(
    table: pd.DataFrame,
    feature: int,
    n: int = 15,
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
    """The gene sets in which a feature's genes are enriched: fold, with the corrected p-value beside it.

    Parameters
    ----------
    table
        tables/enrichment.csv.
    """
    rows = table[table["feature"] == feature].nsmallest(n, "q_value")[::-1]
    if rows.empty:
        raise SettingError(f"feature {feature} has no enriched gene set")
    ax = new_axes(ax, width=6.5, height=0.6 + 0.25 * len(rows))
    place = np.arange(len(rows))
    bars = ax.barh(place, rows["fold"], color=ACCENT, tick_label=[_shortened(name) for name in rows["set"]])
    ax.bar_label(bars, [f"q = {q:.1g}" for q in rows["q_value"]], padding=3, fontsize="small")
    ax.set(xlabel="fold enrichment", title=f"feature {feature}", xlim=(0, 1.25 * rows["fold"].max()))
    return finish(ax, show, save)


def _shortened(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def density(adata: anndata.AnnData, ax: Axes | None = None, show: bool = True, save: str | Path | None = None) -> Axes:
    """How many features fire on which share of tokens; dead features are counted in the title."""
    frequency = adata.var["frequency_token"].to_numpy()
    alive = frequency[frequency > 0]
    if len(alive) == 0:
        raise SettingError("every feature is dead, so there is no density to draw")
    ax = new_axes(ax)
    ax.hist(alive, bins=np.geomspace(alive.min(), 1, N_BINS + 1), color=ACCENT)
    n_dead = len(frequency) - len(alive)
    ax.set(xscale="log", xlabel="share of tokens where active", ylabel="features", title=f"{n_dead} dead")
    return finish(ax, show, save)
