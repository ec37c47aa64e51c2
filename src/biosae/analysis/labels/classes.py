"""Which classes the values of a label name, and which of them have enough samples to be scored."""

from __future__ import annotations

import numpy as np
import pandas as pd

from biosae.errors import DataError

MIN_PER_CLASS = 3  # members, and non-members, that a class needs on both parts to be scored
HOLD_OUT_MORE = "hold out more (data.preprocess.split of cells, data.split.select and .test of proteins)"
SEPARATOR = ";"  # between the terms of a sample that has several


def class_names(label: pd.Series) -> np.ndarray:
    """``(n_samples,)`` class of each sample as text; None where missing or empty."""
    text = label.astype(object).where(label.notna(), None)
    return np.array([None if value is None or str(value).strip() == "" else str(value) for value in text], dtype=object)


def terms(value: str) -> list[str]:
    """The classes that a value names: one, or several separated by ``;``."""
    return [term for part in value.split(SEPARATOR) if (term := part.strip())]


def memberships(text: np.ndarray, classes: list[str]) -> np.ndarray:
    """``(n, n_classes) bool`` which of the classes each value names."""
    values, number = np.unique(text.astype(str), return_inverse=True)
    column = {name: n for n, name in enumerate(classes)}
    member = np.zeros((len(values), len(classes)), dtype=bool)
    for row, value in enumerate(values):
        member[row, [column[term] for term in terms(value) if term in column]] = True
    return member[number]


def is_constant_within(label: pd.Series, group: np.ndarray) -> bool:
    """Whether every donor or batch has one value only, so that shuffling within them changes nothing."""
    return bool(label.groupby(group).nunique().max() <= 1)


def labelled_rows(text: np.ndarray, part: np.ndarray, name: str, key: str) -> np.ndarray:
    """Rows of a part that have a value of the label."""
    rows = np.flatnonzero((part == name) & (text != None))  # noqa: E711, elementwise
    if len(rows) == 0:
        message = f"no sample of the {name} part has a value of {key}, so nothing can be scored; "
        raise DataError(message + f"use more samples, {HOLD_OUT_MORE}, or take another label")
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
        raise DataError(message + f"use more samples or {HOLD_OUT_MORE}")
    return list(counts.index[enough]), left_out
