"""Integration scores against the number of edited features, beside methods that edit none."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosae.errors import SettingError

from .axes import finish_panels, without_frame
from .steering import METHODS

COLUMN_WIDTH = 3.5  # inches, one column of a two-column page
SMALL = {"font.size": 7, "axes.labelsize": 7, "axes.titlesize": 7, "xtick.labelsize": 6, "ytick.labelsize": 6}
PANELS = {
    "total": "total",
    "batch_correction": "batch correction",
    "bio_conservation": "bio-conservation",
    "transfer_macro_f1": "label transfer, macro-F1",
}
REFERENCES = {
    "original": ("unedited model", "#222222", "-"),
    "difference_in_means": METHODS["difference_in_means"][:2] + (METHODS["difference_in_means"][3],),
    "centring": METHODS["centring"][:2] + (METHODS["centring"][3],),
    "pca": ("PCA of counts", "#5b666e", ":"),
    "harmony": ("Harmony", "#b03a5b", (0, (1, 1))),
    "scvi": ("scVI", "#4f5fa8", (0, (4, 1, 1, 1))),
}
"""Methods without a number of features -> name, colour, line."""


def integration(summary: pd.DataFrame, show: bool = True, save: str | Path | None = None) -> Figure:
    """Totals of scib-metrics and macro-F1 of label transfer, a line a method, with 95 % intervals.

    Methods that edit no features are horizontal, with their interval at the right end; the band is that of the
    unedited model.

    Parameters
    ----------
    summary
        integration_summary.csv.
    """
    if summary.empty or not set(PANELS) <= set(summary.columns):
        raise SettingError("expected the rows of integration_summary.csv")
    rows = _one_dose(summary)
    with plt.rc_context(SMALL):
        figure, axes = plt.subplots(2, 2, figsize=(COLUMN_WIDTH, 3.5), sharex=True, layout="constrained")
        for ax, (metric, title) in zip(axes.flat, PANELS.items(), strict=True):
            _horizontal(ax, rows, metric)
            _against_features(ax, rows, metric)
            without_frame(ax).set(ylabel=title)
        for ax in axes[-1]:
            ax.set_xlabel("features edited")
        _legend(figure, axes.flat[0])
        return finish_panels(figure, show, save)


def _one_dose(summary: pd.DataFrame) -> pd.DataFrame:
    """Of several values of the operation, the largest in size: one figure compares numbers of features."""
    size = summary["value"].abs()
    return summary[size.isna() | (size == size.max())]


def _horizontal(ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    beside = ax.get_yaxis_transform()  # x in the width of the panel, y in scores
    for place, (method, (name, colour, line)) in enumerate(REFERENCES.items()):
        for row in rows[rows["method"] == method].to_dict("records"):
            ax.axhline(row[metric], color=colour, linestyle=line, linewidth=1, label=name)
            low, high = row[f"{metric}_low"], row[f"{metric}_high"]
            if not np.isfinite(low):
                continue
            if method == "original":
                ax.axhspan(low, high, color=colour, alpha=0.1, linewidth=0)
            else:
                at = 1 - 0.025 * (len(REFERENCES) - place - 0.5)
                ax.plot([at, at], [low, high], color=colour, linewidth=1.2, transform=beside)


def _against_features(ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    numbers = sorted(rows["n_features"].dropna().unique())
    drawn = [method for method in METHODS if method not in REFERENCES and (rows["method"] == method).any()]
    for place, method in enumerate(drawn):
        name, colour, marker, line = METHODS[method]
        mine = rows[rows["method"] == method].sort_values("n_features")
        x = [numbers.index(n) + 0.08 * (place - (len(drawn) - 1) / 2) for n in mine["n_features"]]
        reach = np.abs(mine[[f"{metric}_low", f"{metric}_high"]].to_numpy(dtype=float).T - mine[metric].to_numpy())
        style = {"color": colour, "linestyle": line, "marker": marker, "markersize": 3, "linewidth": 1}
        ax.errorbar(x, mine[metric], yerr=reach, elinewidth=0.8, label=name, **style)
    ax.set_xticks(range(len(numbers)), [f"{n:,.0f}" for n in numbers])
    ax.set_xlim(-0.4, max(len(numbers) - 0.35, 0.65))


def _legend(figure: Figure, ax: Axes) -> None:
    handles, names = ax.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=2, frameon=False, fontsize=6)
