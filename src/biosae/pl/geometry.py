"""Figures of the decoder: which directions lie near each other, and which come back in other runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from biosae.analysis.stability import MIN_SHARE_OF_RUNS
from biosae.errors import SettingError
from biosae.report.neighbours import nearest_features, unit_rows

from .axes import ACCENT, checked_feature, finish, new_axes


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


def neighbours(
    W_dec: np.ndarray,
    feature: int,
    names: list[str] | None = None,
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
    """The features whose decoder directions are nearest to one feature's.

    Parameters
    ----------
    W_dec
        ``(d_sae, d_in)``, as in sae.safetensors.
    names
        What to write beside the numbers of the features, one entry a feature.
    """
    checked_feature(feature, len(W_dec))
    found = nearest_features(unit_rows(W_dec), feature, feature + 1)
    nearest, cosine = found["feature"].values[::-1], found["cosine"].values[::-1]
    ax = new_axes(ax, height=0.6 + 0.22 * len(nearest))
    texts = [f"{other}" if names is None else f"{other}  {names[other]}" for other in nearest]
    ax.barh(np.arange(len(nearest)), cosine, color=ACCENT, tick_label=texts)
    ax.set(xlabel="cosine of the decoder directions", title=f"feature {feature}")
    return finish(ax, show, save)


def stability(scores: pd.DataFrame, ax: Axes | None = None, show: bool = True, save: str | Path | None = None) -> Axes:
    """How alike the features' directions are to those of their partners in other runs.

    Parameters
    ----------
    scores
        scores.csv, read with ``header=[0, 1], index_col=0``, after `biosae stability`.
    """
    if ("stability", "cosine") not in scores:
        raise SettingError("scores has no stability; run `biosae stability` first")
    ax = new_axes(ax)
    ax.hist(scores["stability", "cosine"].dropna(), bins=np.linspace(0, 1, 41), color=ACCENT)
    share = (scores["stability", "comes_back"] >= MIN_SHARE_OF_RUNS).mean()
    ax.set(xlabel="mean cosine with the partner in other runs", ylabel="features", title=f"{share:.0%} stable")
    return finish(ax, show, save)
