"""How training went."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from biosae.errors import SettingError

from .axes import ACCENT, GREY, finish, new_axes


def training(
    metrics: pd.DataFrame,
    quantity: str = "fvu",
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
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
    return finish(ax, show, save)
