"""Figures of trainings: one run, the runs of a sweep, and variants side by side."""

from __future__ import annotations

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from biosae.errors import SettingError

from .figure import ACCENT, COLUMN_WIDTH, GREY, SMALL, drawing, new_axes, without_frame

COLORS = ("#0b6785", "#d98c1f", "#7b5ea7", "#4b9b6e", "#a9b4ba", "#c0504d", "#222222")
SWEEP_MARKERS = "osD^vP*X"  # one for each value of the setting that distinguishes the runs
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SPLITS = {"train": "train", "val": "validation", "test": "test"}
NAMES = {
    "standard": "Standard (ReLU, L1)", "topk": "TopK", "gumbeltopk": "Gumbel-TopK", "batchtopk": "BatchTopK",
    "jumprelu": "JumpReLU", "gated": "Gated", "gatedanneal": "Gated, annealed", "panneal": "P-annealed",
    "matryoshka": "Matryoshka",
}  # fmt: skip
DASHES = ("--", ":", "-.", (0, (6, 2)), (0, (1, 3)))  # one for each baseline
BARS = {"loss": "Loss", "nmse": "NMSE"}
CURVES = {"nmse": "NMSE (test)", "l0": "L0 (test)", "dead_fraction": "dead features (train)"}
SCALES = {"nmse": {"yscale": "log"}, "l0": {"yscale": "log"}, "dead_fraction": {"ylim": (0, 1)}}
CURVE_SPLIT = {"dead_fraction": "train"}


@drawing()
def training(metrics: pd.DataFrame, quantity: str = "fvu", ax: Axes | None = None) -> Axes:
    """One quantity over training, for the training and the validation tokens.

    Parameters
    ----------
    metrics
        metrics.csv.
    quantity
        One of its columns.
    """
    if quantity not in metrics.columns:
        raise SettingError(f"quantity must be one of {', '.join(metrics.columns[3:])}, got {quantity}")
    ax = new_axes(ax)
    colors = {"train": GREY, "validate": ACCENT}
    for split, rows in metrics.dropna(subset=[quantity]).groupby("split"):
        ax.plot(rows["tokens"], rows[quantity], color=colors.get(split), label=split)
    ax.set(xlabel="training tokens", ylabel=quantity)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return ax


@drawing()
def feature_history(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """When features settle: the cosine of their directions with the last ones, over the steps that were kept.

    Parameters
    ----------
    table
        Of `biosae.Run.feature_history`.
    """
    ax = new_axes(ax)
    cosines = table.filter(like="step_")
    steps = [int(name.removeprefix("step_")) for name in cosines]
    low, median, high = np.quantile(cosines.to_numpy(), (0.25, 0.5, 0.75), axis=0)
    settled = [(table["settled_at"] <= step).fillna(False).mean() for step in steps]
    ax.fill_between(steps, low, high, color=ACCENT, alpha=0.2, linewidth=0, label="middle half")
    ax.plot(steps, median, "o-", color=ACCENT, label="median cosine")
    ax.plot(steps, settled, "s--", color=GREY, label="settled share")
    ax.set(xlabel="training step", ylabel="cosine with the last direction\nor share of features")
    ax.set_ylim(min(0, low.min()), 1.05)
    ax.legend(frameon=False)
    return ax


@drawing()
def sweep(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Held-out FVU against L0, one point per run; down and to the left is better.

    Parameters
    ----------
    table
        sweep.csv, with ``run`` as index: settings that differ first. Colours distinguish the values of the first text
        setting, or, without one, of the last number that is not a k.
    """
    ax = new_axes(ax)
    group = _grouping(table)
    if group is None:
        ax.plot(table["l0"], table["fvu"], "o", color=ACCENT)
    else:
        colors = plt.get_cmap("cividis")
        groups = list(table.groupby(group, sort=True))
        for n, (value, rows) in enumerate(groups):
            rows = rows.sort_values("l0")
            color = colors(0.85 * n / max(1, len(groups) - 1))
            ax.plot(rows["l0"], rows["fvu"], marker=SWEEP_MARKERS[n], color=color, linewidth=0.8, label=str(value))
        ax.legend(frameon=False, title=group.rpartition(".")[2])
    ax.set(xlabel="features active per token (L0)", ylabel="unexplained variance (FVU)")
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    return ax


@drawing(SMALL)
def comparison(table: pd.DataFrame, baselines: pd.DataFrame | None = None) -> Figure:
    """Two rows (loss, NMSE) by three columns (train, validation, test): one bar per model, after the last epoch.

    The legend gives each model's k and its L0 on test, without which the bars cannot be compared. All numbers of a row
    have as many decimals. Dashed lines are the baselines that lie within the axes.

    Parameters
    ----------
    table
        comparison.csv.
    baselines
        baselines.csv.
    """
    last = _last(table)
    models = _models(table)
    figure, axes = plt.subplots(2, 3, figsize=(COLUMN_WIDTH, 2.6), sharey="row", layout="constrained")
    for row, (quantity, title) in zip(axes, BARS.items(), strict=True):
        for ax, (split, name) in zip(row, SPLITS.items(), strict=True):
            heights = [last.loc[(model, split), quantity] for model in models]
            _bars(ax, heights, _decimals(last[quantity]))
            ax.set_title(name if quantity == "loss" else "")
        row[0].set_ylabel(title)
        row[0].set_ylim(0, 1.18 * last[quantity].max())
    lines: dict[str, Line2D] = {}
    for ax, split in zip(axes[1], SPLITS, strict=True):
        lines |= _baselines(ax, baselines, split)
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLORS[n % len(COLORS)]) for n in range(len(models))]
    names = [_named(model, last.loc[(model, "test")]) for model in models]
    handles, names = [*handles, *lines.values()], [*names, *lines]
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 2), frameon=False)
    return figure


@drawing(SMALL)
def comparison_curves(table: pd.DataFrame, baselines: pd.DataFrame | None = None) -> Figure:
    """NMSE, L0 and dead features over the epochs, one line per model; dashed lines are baselines.

    Parameters
    ----------
    table
        comparison.csv.
    baselines
        baselines.csv.
    """
    models = _models(table)
    figure, axes = plt.subplots(1, 3, figsize=(2 * COLUMN_WIDTH, 1.9), layout="constrained")
    for ax, (quantity, title) in zip(axes, CURVES.items(), strict=True):
        for n, model in enumerate(models):
            rows = table[(table["model"] == model) & (table["split"] == CURVE_SPLIT.get(quantity, "test"))]
            style = {"color": COLORS[n % len(COLORS)], "marker": MARKERS[n % len(MARKERS)], "markersize": 3}
            ax.plot(rows["epoch"], rows[quantity], linewidth=1, markevery=0.2, label=NAMES.get(model, model), **style)
        ax.set(xlabel="epoch", ylabel=title, xlim=(0, None), **SCALES[quantity])
        without_frame(ax)
    lines = _baselines(axes[0], baselines, "test")
    handles, names = axes[0].get_legend_handles_labels()
    handles, names = [*handles, *lines.values()], [*names, *lines]
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 6), frameon=False)
    return figure


def _grouping(table: pd.DataFrame) -> str | None:
    """The setting whose values get one colour each."""
    settings = list(table.columns[: table.columns.get_loc("fvu")])
    usable = [
        name for name in settings if table[name].map(str).nunique() <= len(SWEEP_MARKERS) and not name.endswith(".k")
    ]
    text = [name for name in usable if not pd.api.types.is_numeric_dtype(table[name])]
    return next(iter([*text, *usable[::-1]]), None)


def _named(model: str, row: pd.Series) -> str:
    """The name of a model with its k, where it has one, and its L0."""
    k = row.get("k")
    return ", ".join(
        [NAMES.get(model, model), *([] if k is None or np.isnan(k) else [f"k {k:.0f}"]), f"L0 {row['l0']:.1f}"]
    )


def _decimals(values: pd.Series) -> int:
    """Decimals that give the smallest value above 0 two digits; at most 4, which fit above a bar."""
    smallest = values[values > 0].min()
    return 2 if np.isnan(smallest) else int(np.clip(1 - np.floor(np.log10(smallest)), 0, 4))


def _bars(ax: Axes, heights: list[float], decimals: int) -> None:
    place = np.arange(len(heights))
    ax.bar(place, heights, color=[COLORS[n % len(COLORS)] for n in place], width=0.8)
    for x, height in zip(place, heights, strict=True):
        ax.annotate(_short(height, decimals), (x, height), (0, 1), textcoords="offset points", ha="center", fontsize=5)
    ax.set_xticks([])
    without_frame(ax)


def _baselines(ax: Axes, baselines: pd.DataFrame | None, split: str) -> dict[str, Line2D]:
    """One line per baseline within the axes, which keep their upper limit; the lines by the name of the baseline."""
    if baselines is None:
        return {}
    low, high = ax.get_ylim()
    nmse = baselines.loc[baselines["split"] == split, "nmse"]
    low = min([low, *(0.8 * nmse[nmse > low / 10])])  # a better baseline must not lie just below a log axis
    dashes = dict(zip(dict.fromkeys(baselines["baseline"]), cycle(DASHES), strict=False))
    of_split = baselines[(baselines["split"] == split) & baselines["nmse"].between(low, high)]
    lines = {
        name: ax.axhline(nmse, color="black", linewidth=0.8, linestyle=dashes[name])
        for name, nmse in zip(of_split["baseline"], of_split["nmse"], strict=True)
    }
    ax.set_ylim(low, high)
    return lines


def _short(number: float, decimals: int) -> str:
    return f"{number:.{decimals}f}".removeprefix("0")


def _models(table: pd.DataFrame) -> list[str]:
    if table.empty:
        raise SettingError("the comparison is empty; expected the rows of comparison.csv")
    return list(dict.fromkeys(table["model"]))


def _last(table: pd.DataFrame) -> pd.DataFrame:
    """The last evaluation of each model and split."""
    _models(table)
    return table.sort_values("step").groupby(["model", "split"]).last()
