"""Figures of one feature: over cells, classes, genes, tokens and residues, and beside its neighbours."""

from __future__ import annotations

from functools import partial

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosae.analysis.geometry import nearest_features, unit_rows
from biosae.analysis.labels.classes import precision_recall_points
from biosae.analysis.residues.residue_codes import ResidueTracks
from biosae.errors import SettingError
from biosae.feature_names import feature_number
from biosae.features.token_codes import Entries, TokenCodes, evenly

from .figure import ACCENT, COLUMN_WIDTH, GREY, SMALL, drawing, new_axes, without_frame

N_BINS = 40
MOST_LETTERS = 40  # of the name of a gene set
SPANS_AT = 0.95  # of the height of a track, where its annotations are drawn


@drawing()
def feature_map(adata: anndata.AnnData, feature: int | str, basis: str = "umap", ax: Axes | None = None) -> Axes:
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
    ax.figure.colorbar(points, ax=ax, label=pooled_code(adata), shrink=0.7)
    ax.set(title=name_of(feature), xlabel=f"{basis} 1", ylabel=f"{basis} 2", xticks=[], yticks=[])
    return ax


@drawing(SMALL)
def feature(adata: anndata.AnnData, feature: int | str, groupby: str | None = None, basis: str = "umap") -> Figure:
    """A feature on the map of the samples, where there is one, and in each group of them.

    Parameters
    ----------
    adata
        Features, as `biosae.tl.encode` returns them.
    groupby
        Column of obs; None: the first label that was scored.
    """
    groupby = _first_label(adata) if groupby is None else groupby
    panels = [partial(feature_map, basis=basis)] * (f"X_{basis}" in adata.obsm)
    panels += [partial(activation, groupby=groupby)] * (groupby is not None)
    if not panels:
        raise SettingError("there is nothing to draw: no map, and no label; name a column of obs as groupby")
    figure, axes = plt.subplots(1, len(panels), figsize=(COLUMN_WIDTH * len(panels), 3), layout="constrained")
    for draw, ax in zip(panels, np.atleast_1d(axes), strict=True):
        draw(adata, feature, ax=ax, show=False)
    return figure


@drawing()
def activation(adata: anndata.AnnData, feature: int | str, groupby: str, ax: Axes | None = None) -> Axes:
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
    ax.set(xlabel=f"{name_of(feature)}: {pooled_code(adata)}", ylabel=groupby)
    return ax


@drawing()
def precision_recall(
    adata: anndata.AnnData, feature: int | str, label: str, group: str, ax: Axes | None = None
) -> Axes:
    """Precision against recall of a feature for one class on the test samples; dotted, the share of the class."""
    feature = feature_number(feature, adata.n_vars)
    curve = precision_recall_points(adata, feature, label, group)
    if curve is None:
        raise SettingError(f"{label} has no test samples of both {group} and another class")
    ax = new_axes(ax)
    ax.plot(curve["recall"], curve["precision"], color=ACCENT)
    ax.axhline(curve["base_rate"], color="black", linestyle=":", linewidth=1)
    ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title=f"feature {feature}, {group}")
    return ax


@drawing()
def classes(labels: pd.DataFrame, feature: int | str, label: str, ax: Axes | None = None) -> Axes:
    """Held-out AUROC of one feature for every class; the class it was chosen for in colour.

    Parameters
    ----------
    labels
        tables/labels.csv.
    """
    rows = labels[(labels["feature"] == feature) & (labels["label"] == label)].sort_values("auroc")
    if rows.empty:
        raise SettingError(f"feature {feature} has no scores for the label {label}")
    chosen = rows["auroc_select"] == rows["auroc_select"].max()
    ax = new_axes(ax, height=0.6 + 0.3 * len(rows))
    ax.barh(rows["class"].astype(str), rows["auroc"], color=np.where(chosen, ACCENT, GREY))
    ax.axvline(0.5, color="black", linestyle=":", linewidth=1)
    ax.set(xlabel="AUROC on test samples (dotted: chance)", title=f"feature {feature}", xlim=(0, 1))
    return ax


@drawing()
def top_genes(genes: pd.DataFrame, feature: int | str, n: int = 15, ax: Axes | None = None) -> Axes:
    """The genes that carry most of a feature's activation.

    Parameters
    ----------
    genes
        tables/genes.csv.
    """
    rows = genes[genes["feature"] == feature].nlargest(n, "share")[::-1]
    if rows.empty:
        raise SettingError(f"feature {feature} has no genes: it never fires, or genes were not scored")
    ax = new_axes(ax, height=0.6 + 0.22 * len(rows))
    ax.barh(rows["gene"], 100 * rows["share"], color=ACCENT)
    ax.set(xlabel="share of the summed activation (%)", title=f"feature {feature}")
    return ax


@drawing()
def enrichment(table: pd.DataFrame, feature: int | str, n: int = 15, ax: Axes | None = None) -> Axes:
    """The gene sets in which a feature's genes are enriched: fold, with the corrected p-value beside it.

    Parameters
    ----------
    table
        tables/enrichment.csv.
    """
    rows = table[table["feature"] == feature].nsmallest(n, "q_value")[::-1]
    if rows.empty:
        raise SettingError(f"feature {feature} has no enriched gene set")
    ax = new_axes(ax, width=6.5, height=0.6 + 0.25 * len(rows))
    place = np.arange(len(rows))
    bars = ax.barh(place, rows["fold"], color=ACCENT, tick_label=[_shortened(name) for name in rows["set"]])
    ax.bar_label(bars, [f"q = {q:.1g}" for q in rows["q_value"]], padding=3, fontsize="small")
    ax.set(xlabel="fold enrichment", title=f"feature {feature}", xlim=(0, 1.25 * rows["fold"].max()))
    return ax


@drawing()
def histogram(codes: TokenCodes, feature: int | str, ax: Axes | None = None) -> Axes:
    """Histogram of a feature's activation on the tokens where it is active.

    Parameters
    ----------
    codes
        ``biosae.features.token_codes.TokenCodes`` of the folder token_codes/.
    """
    code = _entries(codes, feature).code
    ax = new_axes(ax)
    ax.hist(code, bins=np.linspace(0, code.max(), N_BINS + 1), color=ACCENT)
    ax.set(xlabel="activation", ylabel="tokens", yscale="log", title=f"feature {feature}")
    return ax


@drawing()
def expression(codes: TokenCodes, feature: int | str, ax: Axes | None = None) -> Axes:
    """A feature's activation against the input value of the token, on 150 tokens from weakest to strongest."""
    entries = _entries(codes, feature)
    rows = evenly(entries.code)
    value = entries.value[rows]
    ax = new_axes(ax)
    ax.plot(value, entries.code[rows], "o", color=ACCENT, alpha=0.5, markersize=4, markeredgewidth=0)
    if value.min() > 0 and value.max() > 30 * value.min():
        ax.set_xscale("log")
    ax.set(xlabel="input value of the token", ylabel="activation", title=f"feature {feature}", ylim=(0, None))
    return ax


@drawing()
def residues(
    adata: anndata.AnnData, codes: TokenCodes, feature: int | str, n: int = 4, spans: pd.DataFrame | None = None
) -> Figure:
    """A feature along its strongest proteins, residue by residue, with annotations above.

    Parameters
    ----------
    adata
        features.h5ad of proteins.
    spans
        ``sample`` (row of ``adata``), ``start``, ``end`` (from 1, inclusive), ``concept``.
    """
    pooled = adata.X[:, [feature_number(feature, adata.n_vars)]].toarray().ravel()
    strongest = np.argsort(-pooled, kind="stable")[:n]
    strongest = strongest[pooled[strongest] > 0]
    if len(strongest) == 0:
        raise SettingError(f"feature {feature} never fires")
    tracks = ResidueTracks(list(codes.shards()), codes.vocabulary["name"].to_numpy(dtype=object), adata.n_obs, spans)
    figure, axes = plt.subplots(len(strongest), 1, figsize=(7, 1.1 * len(strongest) + 0.3), layout="constrained")
    for ax, sample in zip(np.atleast_1d(axes), strongest, strict=True):
        _track(ax, tracks.codes(feature, sample), adata.obs_names[sample], tracks.annotations(sample))
    axes = np.atleast_1d(axes)
    axes[-1].set_xlabel("residue")
    figure.supylabel(f"activation of feature {feature}", fontsize="medium")
    return figure


@drawing()
def neighbours(W_dec: np.ndarray, feature: int | str, names: list[str] | None = None, ax: Axes | None = None) -> Axes:
    """The features whose decoder directions are nearest to one feature's.

    Parameters
    ----------
    W_dec
        ``(d_sae, d_in)``, as in sae.safetensors.
    names
        Text beside the number of each feature, one entry per feature.
    """
    feature = feature_number(feature, len(W_dec))
    nearest, cosine = (rows[0, ::-1] for rows in nearest_features(unit_rows(W_dec), feature, feature + 1))
    ax = new_axes(ax, height=0.6 + 0.22 * len(nearest))
    texts = [f"{other}" if names is None else f"{other}  {names[other]}" for other in nearest]
    ax.barh(np.arange(len(nearest)), cosine, color=ACCENT, tick_label=texts)
    ax.set(xlabel="cosine of the decoder directions", title=f"feature {feature}")
    return ax


def pooled_code(adata: anndata.AnnData) -> str:
    """Name the numbers in ``X``: codes, and how those of a sample's tokens became one."""
    pooling = adata.uns.get("biosae", {}).get("pooling", "max")
    return f"code, {pooling} over tokens"


def name_of(feature: int | str) -> str:
    """``f12`` for 12 and for ``"f12"``."""
    return feature if isinstance(feature, str) else f"f{feature}"


def _first_label(adata: anndata.AnnData) -> str | None:
    return next((name for name, table in adata.varm.items() if "class" in table and name in adata.obs), None)


def _codes(adata: anndata.AnnData, feature: int | str) -> np.ndarray:
    """``(n_samples,)`` pooled code of one feature."""
    return adata.X[:, [feature_number(feature, adata.n_vars)]].toarray().ravel()


def _entries(codes: TokenCodes, feature: int | str) -> Entries:
    entries = codes.entries(feature_number(feature, codes.d_sae))
    if len(entries.code) == 0:
        raise SettingError(f"feature {feature} never fires")
    return entries


def _track(ax: Axes, code: np.ndarray, name: str, spans: list[list]) -> None:
    ax.bar(np.arange(1, len(code) + 1), code, width=1, color=ACCENT)
    ax.set(xlim=(0.5, len(code) + 0.5), ylim=(0, 1.2 * code.max()))
    without_frame(ax).set_title(f"{name}, {len(code)} residues", loc="left", fontsize="small")
    for start, end, _ in spans:
        line = ax.plot([start - 0.5, end + 0.5], [SPANS_AT] * 2, transform=ax.get_xaxis_transform())[0]
        line.set(color="black", linewidth=3, solid_capstyle="butt")


def _shortened(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"
