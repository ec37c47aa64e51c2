"""Classes that a feature marks, and the controls that mark them as well: intervals of differences on the same cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from biosae.features.pool import PooledAxes

from .labels.classes import LabelColumn, labelled_rows, memberships
from .stats.auroc import SortedCodes
from .stats.intervals import resample_weights, score_interval, weighted_auroc

RECOVERED_P = 0.05
FEW = 10  # members below which the resamples of a class look too sure


def class_differences(
    axes: Mapping[str, PooledAxes], markers: Mapping[str, pd.DataFrame], label: LabelColumn, seed: int
) -> pd.DataFrame:
    """Return one row per class and control: the AUROC of the SAE's best feature less that of the control's best axis.

    Both axes were chosen on the select samples. The resamples are of test samples, or of donors where there are five,
    and the same for both; for a class of fewer than ten members the interval is at least that of Newcombe's MOVER.

    Parameters
    ----------
    axes
        The SAE's features first, then each control.
    markers
        What `class_markers` gives for each of them.
    label
        The classes.
    seed
        Of the resamples.

    Returns
    -------
    DataFrame
        ``label``, ``class``, ``feature``, ``p_value``, ``auroc``, ``control``, ``control_auroc``, ``difference``,
        ``low``, ``high`` (95 %), ``beaten`` (``low`` above 0).
    """
    own, *controls = axes
    classes = markers[own]["class"].tolist()
    rows = labelled_rows(label.classes, label.part, "test", label.name)
    group = None if label.group is None else label.groups[rows]
    weights = resample_weights(group, len(rows), np.random.default_rng(seed))
    member = memberships(label.classes[rows], classes)
    reached = {name: _resampled(each, markers[name], rows, member, weights) for name, each in axes.items()}
    found = []
    for name in controls:
        for c, of_class in enumerate(markers[own].itertuples()):
            mine, other = reached[own][c], reached[name][c]
            low, high = _interval(mine, other, int(member[:, c].sum()), len(rows))
            place = {"label": label.name, "class": classes[c], "feature": of_class.feature, "p_value": of_class.p_value}
            numbers = {"auroc": mine[0], "control": name, "control_auroc": other[0], "difference": mine[0] - other[0]}
            found.append(place | numbers | {"low": low, "high": high, "beaten": low > 0})
    return pd.DataFrame(found)


def _resampled(
    axes: PooledAxes, markers: pd.DataFrame, rows: np.ndarray, member: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """AUROC of the axis of each class, first on the samples themselves, ``(n_classes, 1 + N_RESAMPLES)``."""
    codes = SortedCodes.of(axes.codes[rows][:, markers["feature"].to_numpy()])
    weights = np.column_stack([np.ones(len(rows)), weights])
    inside = [weights * member[:, [c]] for c in range(member.shape[1])]
    return np.stack([weighted_auroc(codes, c, each, weights - each) for c, each in enumerate(inside)])


def _interval(mine: np.ndarray, other: np.ndarray, n_inside: int, n: int) -> tuple[float, float]:
    """Ends of the 95 % interval of the difference."""
    drawn = (mine - other)[1:]
    low, high = (np.nan, np.nan) if np.isnan(drawn).all() else np.nanpercentile(drawn, [2.5, 97.5])
    if n_inside < FEW:
        point = np.array([mine[0], other[0]])
        lows, highs = score_interval(point, np.full(2, n_inside), np.full(2, n - n_inside))
        difference, below, above = point[0] - point[1], point - lows, highs - point
        low = np.fmin(low, difference - np.hypot(below[0], above[1]))
        high = np.fmax(high, difference + np.hypot(above[0], below[1]))
    return float(low), float(high)


def verdict(claims: pd.DataFrame) -> str:
    """Return the line "k of n claims survive every control", with the controls that fail the others.

    A claim is a class that the SAE marks with a p-value below 0.05 on the test samples. It survives a control when the
    whole 95 % interval of the difference is above 0.
    """
    made = claims[pd.to_numeric(claims["p_value"], errors="coerce") < RECOVERED_P]
    of_claim = made.groupby(["label", "class"])["beaten"].all()
    line = f"{int(of_claim.sum())} of {len(of_claim)} claims survive every control"
    failed = made.loc[~made["beaten"], "control"].value_counts()
    if failed.empty:
        return line
    return f"{line}; not beaten: " + ", ".join(f"{name} ({n})" for name, n in failed.items())
