"""A column of the samples that features are scored against: its classes, and those with enough samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.metrics import precision_recall_curve

from biosae.analysis.stats.auroc import Midranks, SortedCodes, midranks
from biosae.errors import DataError

MIN_PER_CLASS = 3  # members, and non-members, that a class needs on both parts to be scored
MOST_CURVE_POINTS = 200
SEPARATOR = ";"  # between the terms of a sample that has several
NO_CLASS = frozenset(
    "? na n/a n.a. <na> nan null undefined unknown unlabeled unlabelled unannotated unassigned".split()
    + ["not annotated", "not applicable", "not assigned", "not available"]
)
"""Words, in lower case, that say that a sample has no label: it is left out of the scores, and counted."""


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """One label per sample, with its part of the split and the group that it is shuffled within.

    Attributes
    ----------
    values
        Classes or numbers under the name of the column; samples where they are missing are left out.
    part
        ``(n_samples,)`` part of the split; samples of other parts than select and test are not used.
    group
        Donor or batch of each sample, under its name: values are shuffled within it. None where they are shuffled
        freely.
    """

    values: pd.Series
    part: np.ndarray
    group: pd.Series | None = None

    @property
    def name(self) -> str:
        return str(self.values.name)

    @property
    def classes(self) -> np.ndarray:
        """``(n_samples,)`` class of each sample as text; None where missing, or where it says `NO_CLASS`."""
        text = class_names(self.values)
        known = {value: value for value in set(text) - {None} if terms(value)}
        return np.array([known.get(value) for value in text], dtype=object)

    @property
    def groups(self) -> np.ndarray:
        """``(n_samples,)`` group that values are shuffled within; one for all where that is done freely."""
        return np.zeros(len(self.part), dtype=int) if self.group is None else self.group.to_numpy()


def class_names(label: pd.Series) -> np.ndarray:
    """``(n_samples,)`` class of each sample as text; None where missing or empty."""
    if pd.api.types.is_float_dtype(label.dtype) and ((label % 1 == 0) & (label.abs() < 2**53) | label.isna()).all():
        label = label.astype("Int64")  # cluster 3, which a column with gaps holds as 3.0
    text = label.astype(object).where(label.notna(), None)
    return np.array([None if value is None or str(value).strip() == "" else str(value) for value in text], dtype=object)


def terms(value: str) -> list[str]:
    """The classes that a value names: none, one, or several separated by ``;``."""
    found = [part.strip() for part in value.split(SEPARATOR)]
    return [term for term in found if term and term.lower() not in NO_CLASS]


def memberships(text: np.ndarray, classes: list[str]) -> np.ndarray:
    """``(n, n_classes) bool``: True for the classes that a value names."""
    values, number = np.unique(text.astype(str), return_inverse=True)
    column = {name: n for n, name in enumerate(classes)}
    member = np.zeros((len(values), len(classes)), dtype=bool)
    for row, value in enumerate(values):
        member[row, [column[term] for term in terms(value) if term in column]] = True
    return member[number]


def is_constant_within(label: pd.Series, group: np.ndarray) -> bool:
    """True when every donor or batch has one value only, so that shuffling within them changes nothing."""
    return bool(label.groupby(group).nunique().max() <= 1)


def labelled_rows(text: np.ndarray, part: np.ndarray, name: str, key: str) -> np.ndarray:
    """Rows of a part that have a value of the label."""
    rows = np.flatnonzero((part == name) & (text != None))  # noqa: E711, elementwise
    if len(rows) == 0:
        message = f"no sample of the {name} part has a value of {key}, so nothing can be scored; "
        raise DataError(message + "use more samples, hold out a larger share, or take another label")
    return rows


def scorable_classes(
    text: np.ndarray, select_rows: np.ndarray, test_rows: np.ndarray, key: str
) -> tuple[list[str], dict[str, str]]:
    """Classes with enough samples on both parts, and the reason for each other class."""
    parts = {"select": select_rows, "test": test_rows}
    named = {
        name: pd.Series([term for value in text[rows] for term in set(terms(value))]) for name, rows in parts.items()
    }
    counted = {name: each.value_counts() for name, each in named.items()}
    counts = pd.DataFrame(counted).fillna(0).astype(int).sort_index()
    if len(counts) < 2:
        raise DataError(f"{key} has one class only ({', '.join(counts.index)}), so nothing can be told apart")
    others = pd.Series({name: len(rows) for name, rows in parts.items()}) - counts
    enough = (counts.min(axis=1) >= MIN_PER_CLASS) & (others.min(axis=1) >= MIN_PER_CLASS)
    left_out = {
        name: f"{row.select} select and {row.test} test samples; at least {MIN_PER_CLASS} of each, and of the rest"
        for name, row in counts[~enough].iterrows()
    }
    if not enough.any():
        message = f"no class of {key} has {MIN_PER_CLASS} samples in both parts, select and test; "
        raise DataError(message + "use more samples or hold out a larger share for both")
    return list(counts.index[enough]), left_out


@dataclass(frozen=True)
class LabelledCodes:
    """The samples of one part: their rows in the table, codes, ranks and ``(n, n_classes) bool`` memberships."""

    rows: np.ndarray
    codes: SortedCodes
    ranked: Midranks
    member: np.ndarray

    @classmethod
    def of(cls, codes: sparse.csr_matrix, label: np.ndarray, classes: list[str], rows: np.ndarray) -> LabelledCodes:
        in_order = SortedCodes.of(codes[rows])
        return cls(rows, in_order, midranks(in_order), memberships(label[rows], classes))


def labelled_parts(
    codes: sparse.csr_matrix, label: LabelColumn
) -> tuple[LabelledCodes, LabelledCodes, list[str], dict[str, str]]:
    """The labelled samples of the parts select and test, the classes scored, and the reason for each other class.

    Raises
    ------
    DataError
        If fewer than two classes are there or none has enough samples.
    """
    text = label.classes
    select_rows, test_rows = (labelled_rows(text, label.part, name, label.name) for name in ("select", "test"))
    classes, left_out = scorable_classes(text, select_rows, test_rows, label.name)
    left_out |= _without_class(label)
    select, test = (LabelledCodes.of(codes, text, classes, rows) for rows in (select_rows, test_rows))
    return select, test, classes, left_out


def _without_class(label: LabelColumn) -> dict[str, str]:
    """Return the words of `NO_CLASS` that samples of the parts select and test have, each with the reason."""
    values = class_names(label.values)[np.isin(label.part, ["select", "test"])]
    counts = pd.Series([value for value in values if value is not None and not terms(value)]).value_counts()
    return {name: f"it names no class; {n} samples are left out" for name, n in counts.sort_index().items()}


def best_of_classes(scores: pd.DataFrame, key: str) -> pd.DataFrame:
    """One row per class of a label column: the feature that marks it best on the select samples, and its scores."""
    label = scores[f"label:{key}"].dropna(subset=["auroc", "auroc_select"])
    chosen = label.loc[label.groupby("class", observed=True)["auroc_select"].idxmax()]
    return chosen.rename_axis("feature").reset_index()


def precision_recall_points(table: anndata.AnnData, feature: int, key: str, name: str) -> dict[str, Any] | None:
    """Return precision against recall of a feature's pooled code on the test samples, and the share of the class there.

    Parameters
    ----------
    table
        A feature table.
    key, name
        Column of obs and one of its classes.

    Returns
    -------
    ``precision``, ``recall`` (at most `MOST_CURVE_POINTS` points), ``feature`` and ``base_rate``; None when there is
    nothing to tell apart: no test samples, or all or none of them of the class.
    """
    test = np.flatnonzero((table.obs["biosae_part"] == "test").to_numpy())
    if key not in table.obs:
        return None
    positive = class_names(table.obs[key])[test] == name
    if not 0 < positive.sum() < len(positive):
        return None
    code = table.X[test][:, [feature]].toarray().ravel()
    precision, recall, _ = precision_recall_curve(positive, code)
    kept = np.unique(np.linspace(0, len(recall) - 1, MOST_CURVE_POINTS).round().astype(int))
    points = {"precision": precision[kept].tolist(), "recall": recall[kept].tolist()}
    return points | {"feature": feature, "base_rate": float(positive.mean())}
