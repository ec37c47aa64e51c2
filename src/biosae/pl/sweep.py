"""Runs of a sweep: what is left unexplained against how many features that takes."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from .axes import ACCENT, finish, new_axes

MARKERS = "osD^vP*X"
MOST_GROUPS = len(MARKERS)


def sweep(table: pd.DataFrame, ax: Axes | None = None, show: bool = True, save: str | Path | None = None) -> Axes:
    """Held-out FVU against L0, a point a run; down and to the left is better.

    Parameters
    ----------
    table
        sweep.csv, with ``run`` as index: settings that differ first. Colours tell the values of the first text
        setting apart, or where there is none of the last number that is no k.
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
            ax.plot(rows["l0"], rows["fvu"], marker=MARKERS[n], color=color, linewidth=0.8, label=str(value))
        ax.legend(frameon=False, title=group.rpartition(".")[2])
    ax.set(xlabel="features active a token (L0)", ylabel="unexplained variance (FVU)")
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    return finish(ax, show, save)


def _grouping(table: pd.DataFrame) -> str | None:
    """The setting whose values get a colour each."""
    settings = list(table.columns[: table.columns.get_loc("fvu")])
    usable = [name for name in settings if table[name].map(str).nunique() <= MOST_GROUPS and not name.endswith(".k")]
    text = [name for name in usable if table[name].dtype == object]
    return next(iter([*text, *usable[::-1]]), None)
