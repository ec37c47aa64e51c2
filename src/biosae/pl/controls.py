"""Figure of controls: how many classes SAE features recover beside other axes, and beside chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from biosae.errors import SettingError

from .axes import ACCENT, GREY, finish, new_axes

COUNTS = ("n_concepts", "n_recovered", "expected_by_chance")
AUROCS = ("auroc", "null_auroc")


def controls(
    table: pd.DataFrame,
    label: str | None = None,
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
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
    return finish(ax, show, save)


def _rows(table: pd.DataFrame) -> pd.DataFrame:
    """One row a set of axes, the best last: counts added up over the labels, AUROCs averaged over the classes."""
    weighted = table.assign(**{name: table[name] * table["n_concepts"] for name in AUROCS})
    rows = weighted.groupby("axes")[[*COUNTS, *AUROCS]].sum()
    rows[list(AUROCS)] = rows[list(AUROCS)].div(rows["n_concepts"], axis=0)
    rows["n_axes"] = table.groupby("axes")["n_axes"].first()
    above = (rows["auroc"] - rows["null_auroc"]).rename("above")
    return rows.join(above).sort_values(["n_recovered", "above"])
