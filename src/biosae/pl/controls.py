"""Figure of controls: what SAE features recover beside simpler axes, and beside chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from biosae.errors import SettingError

from .axes import ACCENT, GREY, finish, new_axes


def controls(
    table: pd.DataFrame, label: str, ax: Axes | None = None, show: bool = True, save: str | Path | None = None
) -> Axes:
    """Mean held-out AUROC of the best axis of every class, its null, and how many classes are recovered.

    Parameters
    ----------
    table
        controls.csv.
    label
        A label in it.
    """
    rows = table[table["label"] == label].sort_values("auroc")
    if rows.empty:
        known = ", ".join(map(str, table["label"].unique())) or "none"
        raise SettingError(f"label must be one of {known}, got {label}")
    ax = new_axes(ax, width=5.0, height=0.9 + 0.3 * len(rows))
    place = np.arange(len(rows))
    is_sae = rows["axes"].str.startswith("sae")
    ax.hlines(place, rows["null_auroc"], rows["auroc"], color=np.where(is_sae, ACCENT, GREY))
    ax.scatter(rows["auroc"], place, c=np.where(is_sae, ACCENT, GREY), label="test samples", zorder=2)
    ax.plot(rows["null_auroc"], place, "|", color="black", markersize=11, label="null of the best axis")
    for row, (recovered, concepts) in enumerate(zip(rows["n_recovered"], rows["n_concepts"], strict=True)):
        ax.annotate(f"{recovered}/{concepts}", (1.01, row), xycoords=("axes fraction", "data"), va="center")
    names = [f"{name} ({n:,})" for name, n in zip(rows["axes"], rows["n_axes"], strict=True)]
    ax.set(yticks=place, yticklabels=names, xlabel=f"mean AUROC over the classes of {label}")
    ax.text(1.01, 1, "recovered", transform=ax.transAxes, fontsize="small", va="bottom")
    ax.legend(frameon=False, fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return finish(ax, show, save)
