"""Variants side by side: loss and NMSE on every split, and how they came there."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosae.errors import SettingError

from .axes import finish_panels, without_frame

COLORS = ("#0b6785", "#d98c1f", "#7b5ea7", "#4b9b6e", "#a9b4ba", "#c0504d", "#222222")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SPLITS = {"train": "train", "val": "validation", "test": "test"}
BARS = {"loss": "Loss", "nmse": "NMSE"}
CURVES = {"nmse": "NMSE (test)", "l0": "L0 (test)", "dead_fraction": "dead features (train)"}
SCALES = {"nmse": {"yscale": "log"}, "l0": {"yscale": "log"}, "dead_fraction": {"ylim": (0, 1)}}
CURVE_SPLIT = {"dead_fraction": "train"}
COLUMN_WIDTH = 3.5  # inches, one column of a two-column page
SMALL = {"font.size": 7, "axes.titlesize": 7, "axes.labelsize": 7, "xtick.labelsize": 6, "ytick.labelsize": 6}


def comparison(table: pd.DataFrame, show: bool = True, save: str | Path | None = None) -> Figure:
    """Two rows (loss, NMSE) by three columns (train, validation, test): a bar a model, after the last epoch.

    The legend gives each model's L0 on test, without which the bars cannot be compared.

    Parameters
    ----------
    table
        comparison.csv.
    """
    last = _last(table)
    models = _models(table)
    with plt.rc_context(SMALL):
        figure, axes = plt.subplots(2, 3, figsize=(COLUMN_WIDTH, 2.6), sharey="row", layout="constrained")
        for row, (quantity, title) in zip(axes, BARS.items(), strict=True):
            for ax, (split, name) in zip(row, SPLITS.items(), strict=True):
                heights = [last.loc[(model, split), quantity] for model in models]
                _bars(ax, heights)
                ax.set_title(name if quantity == "loss" else "")
            row[0].set_ylabel(title)
            row[0].set_ylim(0, 1.18 * last[quantity].max())
        handles = [plt.Rectangle((0, 0), 1, 1, color=COLORS[n % len(COLORS)]) for n in range(len(models))]
        names = [f"{model}, L0 {last.loc[(model, 'test'), 'l0']:.0f}" for model in models]
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(models), 3), frameon=False)
        return finish_panels(figure, show, save)


def comparison_curves(table: pd.DataFrame, show: bool = True, save: str | Path | None = None) -> Figure:
    """NMSE, L0 and dead features over the epochs, a line a model.

    Parameters
    ----------
    table
        comparison.csv.
    """
    models = _models(table)
    with plt.rc_context(SMALL):
        figure, axes = plt.subplots(1, 3, figsize=(2 * COLUMN_WIDTH, 1.9), layout="constrained")
        for ax, (quantity, title) in zip(axes, CURVES.items(), strict=True):
            for n, model in enumerate(models):
                rows = table[(table["model"] == model) & (table["split"] == CURVE_SPLIT.get(quantity, "test"))]
                style = {"color": COLORS[n % len(COLORS)], "marker": MARKERS[n % len(MARKERS)], "markersize": 3}
                ax.plot(rows["epoch"], rows[quantity], linewidth=1, markevery=0.2, label=model, **style)
            ax.set(xlabel="epoch", ylabel=title, xlim=(0, None), **SCALES[quantity])
            without_frame(ax)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(models), frameon=False)
        return finish_panels(figure, show, save)


def _bars(ax: Axes, heights: list[float]) -> None:
    place = np.arange(len(heights))
    ax.bar(place, heights, color=[COLORS[n % len(COLORS)] for n in place], width=0.8)
    for x, height in zip(place, heights, strict=True):
        ax.annotate(_short(height), (x, height), (0, 1), textcoords="offset points", ha="center", fontsize=5)
    ax.set_xticks([])
    without_frame(ax)


def _short(number: float) -> str:
    """Two digits that fit above a bar."""
    return f"{number:#.2g}".removeprefix("0")


def _models(table: pd.DataFrame) -> list[str]:
    if table.empty:
        raise SettingError("the comparison is empty; expected the rows of comparison.csv")
    return list(dict.fromkeys(table["model"]))


def _last(table: pd.DataFrame) -> pd.DataFrame:
    """The last evaluation of each model and split."""
    _models(table)
    return table.sort_values("step").groupby(["model", "split"]).last()
