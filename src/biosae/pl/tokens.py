"""A feature over tokens: how strongly it fires, on how much expression, and where along a protein."""

from __future__ import annotations

from pathlib import Path

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosae.errors import SettingError
from biosae.features.token_codes import Entries, TokenCodes
from biosae.report.feature_shards import evenly
from biosae.report.tracks import Tracks

from .axes import ACCENT, checked_feature, finish, new_axes, without_frame

N_BINS = 40
SPANS_AT = 0.95  # of the height of a track, where its annotated stretches are drawn


def histogram(
    codes: TokenCodes, feature: int, ax: Axes | None = None, show: bool = True, save: str | Path | None = None
) -> Axes:
    """How strongly a feature fires on the tokens where it is active.

    Parameters
    ----------
    codes
        ``biosae.features.token_codes.TokenCodes`` of the folder token_codes/.
    """
    code = _entries(codes, feature).code
    ax = new_axes(ax)
    ax.hist(code, bins=np.linspace(0, code.max(), N_BINS + 1), color=ACCENT)
    ax.set(xlabel="activation", ylabel="tokens", yscale="log", title=f"feature {feature}")
    return finish(ax, show, save)


def expression(
    codes: TokenCodes, feature: int, ax: Axes | None = None, show: bool = True, save: str | Path | None = None
) -> Axes:
    """A feature's activation against the input value of the token, on 150 tokens from weakest to strongest."""
    entries = _entries(codes, feature)
    rows = evenly(entries.code)
    value = entries.value[rows]
    ax = new_axes(ax)
    ax.plot(value, entries.code[rows], "o", color=ACCENT, alpha=0.5, markersize=4, markeredgewidth=0)
    if value.min() > 0 and value.max() > 30 * value.min():
        ax.set_xscale("log")
    ax.set(xlabel="input value of the token", ylabel="activation", title=f"feature {feature}", ylim=(0, None))
    return finish(ax, show, save)


def residues(
    adata: anndata.AnnData,
    codes: TokenCodes,
    feature: int,
    n: int = 4,
    spans: pd.DataFrame | None = None,
    show: bool = True,
    save: str | Path | None = None,
) -> Figure:
    """A feature along its strongest proteins, residue by residue, with annotated stretches above.

    Parameters
    ----------
    adata
        features.h5ad of proteins.
    spans
        ``sample`` (row of ``adata``), ``start``, ``end`` (from 1, inclusive), ``concept``.
    """
    pooled = adata.X[:, [checked_feature(feature, adata.n_vars)]].toarray().ravel()
    strongest = np.argsort(-pooled, kind="stable")[:n]
    strongest = strongest[pooled[strongest] > 0]
    if len(strongest) == 0:
        raise SettingError(f"feature {feature} never fires")
    tracks = Tracks(list(codes.shards()), codes.vocabulary["name"].to_numpy(dtype=object), adata.n_obs, spans)
    figure, axes = plt.subplots(len(strongest), 1, figsize=(7, 1.1 * len(strongest) + 0.3), layout="constrained")
    for ax, sample in zip(np.atleast_1d(axes), strongest, strict=True):
        _track(ax, tracks.codes(feature, sample), adata.obs_names[sample], tracks.spans_of(sample))
    axes = np.atleast_1d(axes)
    axes[-1].set_xlabel("residue")
    figure.supylabel(f"activation of feature {feature}", fontsize="medium")
    finish(axes[0], show, save)
    return figure


def _track(ax: Axes, code: np.ndarray, name: str, spans: list[list]) -> None:
    ax.bar(np.arange(1, len(code) + 1), code, width=1, color=ACCENT)
    ax.set(xlim=(0.5, len(code) + 0.5), ylim=(0, 1.2 * code.max()))
    without_frame(ax).set_title(f"{name}, {len(code)} residues", loc="left", fontsize="small")
    for start, end, _ in spans:
        line = ax.plot([start - 0.5, end + 0.5], [SPANS_AT] * 2, transform=ax.get_xaxis_transform())[0]
        line.set(color="black", linewidth=3, solid_capstyle="butt")


def _entries(codes: TokenCodes, feature: int) -> Entries:
    entries = codes.entries(checked_feature(feature, codes.d_sae))
    if len(entries.code) == 0:
        raise SettingError(f"feature {feature} never fires")
    return entries
