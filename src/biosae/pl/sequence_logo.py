"""The sequence logo of aligned windows."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from biosae.errors import SettingError

from .figure import drawing, new_axes

COLORS = dict.fromkeys("AVLIMCFWY", "#4a4a4a") | dict.fromkeys("STNQ", "#4b9b6e") | dict.fromkeys("KRH", "#0b6785")
COLORS |= dict.fromkeys("DE", "#c0504d") | dict.fromkeys("GP", "#d98c1f")
"""Hydrophobic, polar, positive, negative, and glycine and proline."""


@drawing()
def sequence_logo(heights: pd.DataFrame, first: int | None = None, ax: Axes | None = None) -> Axes:
    """Letters at every place of aligned windows or of a sequence, as high as their information in bits.

    Parameters
    ----------
    heights
        ``(width, 20)`` bits, one column per amino acid: `biosae.analysis.residues.windows.information`.
    first
        Residue at the first place of a sequence; None: aligned windows, whose middle is 0.
    """
    if heights.empty:
        raise SettingError("the logo is empty; expected the heights of at least one place")
    left = -(len(heights) // 2) if first is None else first
    ax = new_axes(ax, width=max(2.5, 0.28 * len(heights)), height=1.6)
    for at, row in enumerate(heights.to_numpy()):
        base = 0.0
        for order in row.argsort():
            if row[order] > 0:
                _draw(ax, heights.columns[order], at + left, base, row[order])
                base += row[order]
    ax.set(xlim=(left - 0.5, len(heights) + left - 0.5), ylim=(0, 1.05 * heights.sum(axis=1).max() or 1))
    ax.set(xlabel="residues from the largest code" if first is None else "residue", ylabel="bits")
    return ax


def _draw(ax: Axes, letter: str, x: float, base: float, height: float) -> None:
    path = TextPath((0, 0), letter, size=1, prop={"family": "DejaVu Sans", "weight": "bold"})
    box = path.get_extents()
    fit = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, height / box.height).translate(x - 0.45, base)
    ax.add_patch(PathPatch(fit.transform_path(path), color=COLORS[letter], linewidth=0))
