"""Figures of edits: effects against the dose, the way from control to treated, and integration scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosae.artefacts import atomic_write
from biosae.errors import SettingError

from .figure import COLUMN_WIDTH, SMALL, drawing, new_axes, without_frame

PANEL_WIDTH, PANEL_HEIGHT = 3.5, 3.2  # inches; two panels fill two columns of a journal

METHODS = {
    "sae": ("SAE features", "#0b6785", "o", "-"),
    "matched_features": ("matched random features", "#c8742a", "s", "--"),
    "random_features": ("random features", "#a77b52", "^", "--"),
    "random_direction": ("random direction", "#8a949a", "v", ":"),
    "difference_in_means": ("difference in means", "#7a3b69", "D", "-."),
    "centring": ("centring", "#3c7a3b", "P", (0, (6, 2))),
}
"""Method -> name, colour (distinct for the colour-blind and in grey), marker, line."""

METRICS = {
    "shift": "samples move by (their spread)",
    "target_gap": "distance between groups left",
    "label_gap": "distance between labels left",
    "label_kept": "samples that keep their label",
}
SCORES = {
    "total": "total",
    "batch_correction": "batch correction",
    "bio_conservation": "bio-conservation",
    "transfer_macro_f1": "label transfer, macro-F1",
}
REFERENCES = {
    "original": ("unedited model", "#222222", "-"),
    **{name: METHODS[name][:2] + METHODS[name][3:] for name in ("difference_in_means", "centring")},
    "pca": ("PCA of counts", "#5b666e", ":"),
    "harmony": ("Harmony", "#b03a5b", (0, (1, 1))),
    "scvi": ("scVI", "#4f5fa8", (0, (4, 1, 1, 1))),
}
"""Methods without a number of features -> name, colour, line."""


@drawing()
def steering(
    effects: pd.DataFrame, metric: str = "target_gap", against: str = "n_features", ax: Axes | None = None
) -> Axes:
    """One effect on the test samples against the number of features or the value, one line per method.

    Bars are 95 % intervals of the SAE's features, bands the range over seeds of what is drawn at random, and
    lines without markers the baselines without features.

    Parameters
    ----------
    effects
        steering/effects.csv.
    metric
        One of its metrics of all samples.
    against
        ``n_features`` at the largest value, or ``value`` at the largest number of features.
    """
    rows = effects[(effects["metric"] == metric) & (effects["group_by"] == "all")]
    if rows.empty:
        raise SettingError(f"metric must be one of {', '.join(effects['metric'].unique())}, got {metric}")
    fixed = "value" if against == "n_features" else "n_features"
    rows = rows[rows[fixed].isna() | (rows[fixed] == rows[fixed].max())]
    ax = _lines(rows, against, new_axes(ax))
    operation, unit = rows[["operation", "unit"]].dropna().iloc[0]
    dose = f"{operation}, {'x own active scale' if unit == 'scale' else 'codes'}"
    ax.set(xlabel="features edited" if against == "n_features" else dose, ylabel=METRICS[metric])
    return _with_legend(ax)


@drawing()
def perturbation(table: pd.DataFrame, metric: str = "distance_closed", ax: Axes | None = None) -> Axes:
    """The way from control to treated that test samples go, against the number of features, one line per method.

    At the strength that was best on the select samples; random baselines at the strength of the features beside them.

    Parameters
    ----------
    table
        steering/perturbation.csv.
    """
    chosen = table["best_on_select"] & (table["part"] == "test") & (table["group_by"] == "all")
    rows = table[chosen & (table["metric"] == metric)]
    if rows.empty:
        raise SettingError(f"metric must be one of {', '.join(table['metric'].unique())}, got {metric}")
    ax = _lines(rows, "n_features", new_axes(ax))
    if metric == "distance_closed":
        ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="features edited", ylabel=metric.replace("_", " "))
    return _with_legend(ax)


@drawing(SMALL)
def integration(summary: pd.DataFrame) -> Figure:
    """Totals of scib-metrics and macro-F1 of label transfer, one line per method, with 95 % intervals.

    Methods that edit no features are horizontal, with their interval at the right end; the band is that of the
    unedited model.

    Parameters
    ----------
    summary
        integration_summary.csv.
    """
    if summary.empty or not set(SCORES) <= set(summary.columns):
        raise SettingError("expected the rows of integration_summary.csv")
    rows = _one_dose(summary)
    figure, axes = plt.subplots(2, 2, figsize=(COLUMN_WIDTH, 3.5), sharex=True, layout="constrained")
    for ax, (metric, title) in zip(axes.flat, SCORES.items(), strict=True):
        _horizontal(ax, rows, metric)
        _against_features(ax, rows, metric)
        without_frame(ax).set(ylabel=title)
    for ax in axes[-1]:
        ax.set_xlabel("features edited")
    _legend(figure, axes.flat[0])
    return figure


def steering_panels(table: pd.DataFrame, path: Path) -> None:
    """Gap and kept labels side by side, against what was swept, as ``path`` with the suffixes .svg and .png.

    Parameters
    ----------
    table
        steering/effects.csv.
    """
    against = "value" if table["value"].nunique() > 1 else "n_features"
    metrics = ("target_gap", "label_kept", "shift")
    _save_panels(table, metrics, path, lambda metric, ax: steering(table, metric, against, ax=ax, show=False))


def perturbation_panels(table: pd.DataFrame, path: Path) -> None:
    """Distance closed and kept labels side by side, as ``path`` with the suffixes .svg and .png.

    Parameters
    ----------
    table
        steering/perturbation.csv.
    """
    metrics = ("distance_closed", "label_kept")
    _save_panels(table, metrics, path, lambda metric, ax: perturbation(table, metric, ax=ax, show=False))


def _save_panels(table: pd.DataFrame, metrics: Sequence[str], path: Path, draw: Callable[[str, Axes], object]) -> None:
    """Draw the first two metrics that the table has, with one legend above both panels."""
    there = [metric for metric in metrics if (table["metric"] == metric).any()][:2]
    fig, axes = plt.subplots(1, len(there), figsize=(PANEL_WIDTH * len(there), PANEL_HEIGHT), layout="constrained")
    axes = list(np.atleast_1d(axes))
    for ax, metric in zip(axes, there, strict=True):
        draw(metric, ax)
    handles = axes[0].get_legend_handles_labels()
    for ax in axes:
        ax.get_legend().remove()
    fig.legend(*handles, loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    for suffix in (".svg", ".png"):
        with atomic_write(path.with_suffix(suffix)) as temporary:
            fig.savefig(temporary, dpi=200)
    plt.close(fig)


def _lines(rows: pd.DataFrame, against: str, ax: Axes) -> Axes:
    known = np.sort(rows[against].dropna().unique())
    # Numbers of features differ by factors and stand side by side; doses stand where they are.
    place = dict(zip(known, known if against == "value" else range(len(known)), strict=True))
    for method, (name, color, marker, line) in METHODS.items():
        own = rows[rows["method"] == method]
        if own.empty:
            continue
        if own[against].isna().all():
            _level(own, name, color, line, ax)
            continue
        over_seeds = own.groupby(against)
        at, mean = [place[value] for value in over_seeds.groups], over_seeds["estimate"].mean()
        ax.plot(at, mean, marker=marker, linestyle=line, color=color, label=name, markersize=5)
        if own["seed"].notna().any():
            ax.fill_between(
                at, over_seeds["estimate"].min(), over_seeds["estimate"].max(), color=color, alpha=0.2, lw=0
            )
        else:
            ax.vlines(at, over_seeds["low"].min(), over_seeds["high"].max(), color=color, linewidth=1.2)
    ax.set_xticks(list(place.values()), [f"{value:g}" for value in known])
    return ax


def _level(own: pd.DataFrame, name: str, color: str, line: str, ax: Axes) -> None:
    row = own.iloc[-1]
    ax.axhline(row["estimate"], color=color, linestyle=line, label=name, linewidth=1.2)
    ax.axhspan(row["low"], row["high"], color=color, alpha=0.12, lw=0)


def _with_legend(ax: Axes) -> Axes:
    ax.legend(frameon=False, fontsize="x-small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


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
