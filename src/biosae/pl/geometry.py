"""Figure of the decoder: which directions lie near each other."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from biosae.errors import SettingError

from .axes import finish, new_axes


def decoder_map(
    scores: pd.DataFrame,
    color: tuple[str, str] = ("geometry", "nearest_cosine"),
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
    """The UMAP of the decoder directions, one point a feature, coloured by a column of numbers.

    Parameters
    ----------
    scores
        scores.csv, read with ``header=[0, 1], index_col=0``, of an analysis with ``analysis.map_decoder=true``.
    color
        Analysis and metric; features without a value are left out.
    """
    if ("geometry", "map_x") not in scores:
        raise SettingError("scores has no map of the decoder; run `biosae analyze analysis.map_decoder=true`")
    if tuple(color) not in scores or not pd.api.types.is_numeric_dtype(scores[tuple(color)]):
        raise SettingError(f"color must be the analysis and metric of a column of numbers, got {tuple(color)}")
    known = scores[scores[tuple(color)].notna()]
    ax = new_axes(ax)
    places = known["geometry", "map_x"], known["geometry", "map_y"]
    points = ax.scatter(*places, c=known[tuple(color)], s=6, cmap="viridis", linewidths=0, rasterized=True)
    ax.figure.colorbar(points, ax=ax, label=color[1].replace("_", " "), shrink=0.7)
    ax.set(xlabel="umap 1", ylabel="umap 2", xticks=[], yticks=[], title="decoder directions")
    return finish(ax, show, save)
