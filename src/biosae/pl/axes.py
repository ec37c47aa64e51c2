"""What every figure shares: its axes, its colours, and how it is shown and saved."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosae.errors import SettingError

ACCENT = "#0b6785"
GREY = "#a9b4ba"


def new_axes(ax: Axes | None, width: float = 4.0, height: float = 3.0) -> Axes:
    """The given axes, or new ones (inches), without the frame's upper and right edge."""
    return without_frame(ax if ax is not None else plt.subplots(figsize=(width, height), layout="constrained")[1])


def without_frame(ax: Axes) -> Axes:
    """The axes without the frame's upper and right edge."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def finish(ax: Axes, show: bool, save: str | Path | None) -> Axes:
    """Saves the figure where asked (the suffix decides the format), shows it where asked, gives its axes."""
    if save is not None:
        ax.figure.savefig(save, bbox_inches="tight", dpi=300)
    if show:
        plt.show()
    return ax


def finish_panels(figure: Figure, show: bool, save: str | Path | None) -> Figure:
    """`finish` of a figure of several panels, which is closed."""
    if save is not None:
        figure.savefig(save, bbox_inches="tight", dpi=300)
    if show:
        plt.show()
    plt.close(figure)
    return figure


def checked_feature(feature: int, d_sae: int) -> int:
    """The feature, or `SettingError` when there is none of that number."""
    if not isinstance(feature, int | np.integer):
        raise SettingError(f"feature is a number such as 12, got {feature!r}")
    if not 0 <= feature < d_sae:
        raise SettingError(f"feature must lie between 0 and {d_sae - 1}, got {feature}")
    return feature
