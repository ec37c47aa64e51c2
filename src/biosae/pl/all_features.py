"""Figures of all features: markers of classes, firing, decoder directions, and simpler axes beside them."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from biosae.analysis.labels.classes import best_of_classes
from biosae.analysis.stability import MIN_SHARE_OF_RUNS
from biosae.errors import SettingError

from .figure import ACCENT, GREY, drawing, new_axes

N_BINS = 36
COUNTS = ("n_concepts", "n_recovered", "expected_by_chance")
AUROCS = ("auroc", "null_auroc")
_NO_SCORES = pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []]))


@drawing()
def markers(scores: pd.DataFrame | anndata.AnnData, label: str, ax: Axes | None = None) -> Axes:
    """The best feature of each class: its held-out AUROC with interval, and the null of the best of all features.

    Parameters
    ----------
    scores
        Features that `biosae.tl.score_labels` has scored, or scores.csv, read with ``header=[0, 1], index_col=0``.
    label
        A scored column of obs.
    """
    if isinstance(scores, anndata.AnnData):
        tables = {f"label:{name}": table for name, table in scores.varm.items() if "class" in table}
        scores = pd.concat(tables, axis=1).reset_index(drop=True) if tables else _NO_SCORES
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
    return ax


@drawing()
def density(adata: anndata.AnnData, ax: Axes | None = None) -> Axes:
    """Histogram of features by the share of tokens on which they fire; dead features are counted in the title."""
    frequency = adata.var["frequency_token"].to_numpy()
    alive = frequency[frequency > 0]
    if len(alive) == 0:
        raise SettingError("every feature is dead, so there is no density to draw")
    ax = new_axes(ax)
    ax.hist(alive, bins=np.geomspace(alive.min(), 1, N_BINS + 1), color=ACCENT)
    n_dead = len(frequency) - len(alive)
    ax.set(xscale="log", xlabel="share of tokens where active", ylabel="features", title=f"{n_dead} dead")
    return ax


@drawing()
def decoder_map(
    scores: pd.DataFrame, color: tuple[str, str] = ("geometry", "nearest_cosine"), ax: Axes | None = None
) -> Axes:
    """The UMAP of the decoder directions, one point per feature, coloured by a column of numbers.

    Parameters
    ----------
    scores
        scores.csv, read with ``header=[0, 1], index_col=0``, of an analysis with ``map_decoder=True``.
    color
        Analysis and metric; features without a value are left out.
    """
    if ("geometry", "map_x") not in scores:
        raise SettingError("scores has no map of the decoder; run the analyze stage with map_decoder=True", "scores")
    if tuple(color) not in scores or not pd.api.types.is_numeric_dtype(scores[tuple(color)]):
        raise SettingError(f"color must be the analysis and metric of a column of numbers, got {tuple(color)}")
    known = scores[scores[tuple(color)].notna()]
    ax = new_axes(ax)
    places = known["geometry", "map_x"], known["geometry", "map_y"]
    points = ax.scatter(*places, c=known[tuple(color)], s=6, cmap="viridis", linewidths=0, rasterized=True)
    ax.figure.colorbar(points, ax=ax, label=color[1].replace("_", " "), shrink=0.7)
    ax.set(xlabel="umap 1", ylabel="umap 2", xticks=[], yticks=[], title="decoder directions")
    return ax


@drawing()
def stability(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Histogram of the cosines of the features with their partners in other runs.

    Parameters
    ----------
    scores
        scores.csv, read with ``header=[0, 1], index_col=0``, after the stability stage.
    """
    if ("stability", "cosine") not in scores:
        raise SettingError("scores has no stability; run the stability stage first", "scores")
    ax = new_axes(ax)
    ax.hist(scores["stability", "cosine"].dropna(), bins=np.linspace(0, 1, 41), color=ACCENT)
    share = (scores["stability", "comes_back"] >= MIN_SHARE_OF_RUNS).mean()
    ax.set(xlabel="mean cosine with the partner in other runs", ylabel="features", title=f"{share:.0%} stable")
    return ax


@drawing()
def controls(table: pd.DataFrame, label: str | None = None, ax: Axes | None = None) -> Axes:
    """Classes that each set of axes recovers on test samples, those expected by chance, and the mean AUROC.

    Parameters
    ----------
    table
        controls.csv.
    label
        A label in it; without one the classes of all labels count together.
    """
    rows = _rows(table if label is None else table[table["label"] == label])
    if rows.empty:
        known = ", ".join(map(str, table["label"].unique())) or "none"
        raise SettingError(f"label must be one of {known}, got {label}")
    ax = new_axes(ax, width=5.5, height=0.9 + 0.3 * len(rows))
    place = np.arange(len(rows))
    color = np.where(rows.index == table["axes"].iloc[0], ACCENT, GREY)
    ax.hlines(place, rows["expected_by_chance"], rows["n_recovered"], color=color)
    ax.scatter(rows["n_recovered"], place, c=color, label="recovered", zorder=2)
    ax.plot(rows["expected_by_chance"], place, "|", color="black", markersize=11, label="expected by chance")
    for row, (auroc, null) in enumerate(zip(rows["auroc"], rows["null_auroc"], strict=True)):
        ax.annotate(f"{auroc:.2f} ({null:.2f})", (1.02, row), xycoords=("axes fraction", "data"), va="center")
    ax.text(1.02, 1, "AUROC (null)", transform=ax.transAxes, fontsize="small", va="bottom")
    names = [f"{name} ({n:,})" for name, n in zip(rows.index, rows["n_axes"], strict=True)]
    of = "all labels" if label is None else label
    n_concepts = rows["n_concepts"].max()
    ax.set(yticks=place, yticklabels=names, xlim=(-0.03 * n_concepts, 1.03 * n_concepts))
    ax.set(xlabel=f"classes of {of} recovered on test samples, of {n_concepts}")
    ax.legend(frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1.04), ncols=2)
    return ax


def _rows(table: pd.DataFrame) -> pd.DataFrame:
    """One row per set of axes, the best last: counts summed over labels, AUROCs averaged over classes."""
    weighted = table.assign(**{name: table[name] * table["n_concepts"] for name in AUROCS})
    rows = weighted.groupby("axes")[[*COUNTS, *AUROCS]].sum()
    rows[list(AUROCS)] = rows[list(AUROCS)].div(rows["n_concepts"], axis=0)
    rows["n_axes"] = table.groupby("axes")["n_axes"].first()
    above = (rows["auroc"] - rows["null_auroc"]).rename("above")
    return rows.join(above).sort_values(["n_recovered", "above"])
