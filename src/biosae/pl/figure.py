"""Parts that every figure shares: its axes and colours, and how it is shown and saved."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ACCENT = "#0b6785"
GREY = "#a9b4ba"
COLUMN_WIDTH = 3.5  # inches, one column of a two-column page
SMALL = {"font.size": 7, "axes.titlesize": 7, "axes.labelsize": 7, "xtick.labelsize": 6, "ytick.labelsize": 6}
"""Text sizes of figures of several panels in one column."""


def drawing(style: dict[str, Any] | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function that draws and returns its axes, or its figure of several panels, with ``show`` and ``save``.

    ``save`` is a path whose suffix decides the format. A figure of several panels is closed at the end.

    Parameters
    ----------
    style
        rcParams under which the figure is drawn and saved.
    """

    def decorated(draw: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(draw)
        def drawn(*args: Any, show: bool = True, save: str | Path | None = None, **kwargs: Any) -> Axes | Figure:
            with plt.rc_context(style):
                result = draw(*args, **kwargs)
                whole = result if isinstance(result, Figure) else result.figure
                if save is not None:
                    whole.savefig(save, bbox_inches="tight", dpi=300)
                if show:
                    plt.show()
                if result is whole:
                    plt.close(whole)
            return result

        own, added = inspect.signature(draw), inspect.signature(drawn, follow_wrapped=False)
        extra = [added.parameters[name] for name in ("show", "save")]
        drawn.__signature__ = own.replace(parameters=[*own.parameters.values(), *extra])
        return drawn

    return decorated


def new_axes(ax: Axes | None, width: float = 4.0, height: float = 3.0) -> Axes:
    """Return the given axes, or new ones (inches), without the upper and right edge of the frame."""
    return without_frame(ax if ax is not None else plt.subplots(figsize=(width, height), layout="constrained")[1])


def without_frame(ax: Axes) -> Axes:
    """Return the axes without the upper and right edge of the frame."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax
