"""A feature over cells: on the 2-D map, by group, and as a test for a class."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
from matplotlib.axes import Axes

from biosae.errors import SettingError
from biosae.report.labels import precision_recall as report_precision_recall

from .axes import ACCENT, checked_feature, finish, new_axes


def feature_map(
    adata: anndata.AnnData,
    feature: int,
    basis: str = "umap",
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
    """Cells on the map ``obsm["X_<basis>"]``, coloured by a feature's activation, the most active on top."""
    if f"X_{basis}" not in adata.obsm:
        known = ", ".join(key.removeprefix("X_") for key in adata.obsm if key != "X_model")
        made = "there is no map; scanpy makes one: sc.pp.neighbors(adata, use_rep='X_model'); sc.tl.umap(adata)"
        raise SettingError(f"basis must be one of {known}, got {basis}" if known else made)
    position = np.asarray(adata.obsm[f"X_{basis}"])[:, :2]
    code = _codes(adata, feature)
    order = np.argsort(code, kind="stable")
    ax = new_axes(ax)
    points = ax.scatter(*position[order].T, c=code[order], s=6, cmap="viridis", linewidths=0, rasterized=True)
    ax.figure.colorbar(points, ax=ax, label="activation", shrink=0.7)
    ax.set(title=f"feature {feature}", xlabel=f"{basis} 1", ylabel=f"{basis} 2", xticks=[], yticks=[])
    return finish(ax, show, save)


def activation(
    adata: anndata.AnnData,
    feature: int,
    groupby: str,
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
    """A feature's activation in each group of cells: box from quartile to quartile, whiskers to 5 and 95 %."""
    if groupby not in adata.obs:
        raise SettingError(f"groupby must be a column of obs ({', '.join(adata.obs.columns)}), got {groupby}")
    code, group = _codes(adata, feature), adata.obs[groupby].astype(str).to_numpy()
    names = sorted(set(group))
    ax = new_axes(ax, height=0.6 + 0.3 * len(names))
    parts = ax.boxplot(
        [code[group == name] for name in names],
        orientation="horizontal",
        tick_labels=names,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        medianprops={"color": "black"},
    )
    for box in parts["boxes"]:
        box.set(facecolor=ACCENT, alpha=0.5, linewidth=0.8)
    ax.invert_yaxis()
    ax.set(xlabel=f"activation of feature {feature}", ylabel=groupby)
    return finish(ax, show, save)


def precision_recall(
    adata: anndata.AnnData,
    feature: int,
    label: str,
    group: str,
    ax: Axes | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Axes:
    """Precision against recall of a feature for one class on the test samples; dotted, the share of the class."""
    checked_feature(feature, adata.n_vars)
    curve = report_precision_recall(adata, feature, label, group)
    if curve is None:
        raise SettingError(f"{label} has no test samples of both {group} and another class")
    ax = new_axes(ax)
    ax.plot(curve["recall"], curve["precision"], color=ACCENT)
    ax.axhline(curve["base_rate"], color="black", linestyle=":", linewidth=1)
    ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title=f"feature {feature}, {group}")
    return finish(ax, show, save)


def _codes(adata: anndata.AnnData, feature: int) -> np.ndarray:
    """``(n_samples,)`` pooled code of one feature."""
    return adata.X[:, [checked_feature(feature, adata.n_vars)]].toarray().ravel()
