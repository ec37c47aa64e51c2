"""How well each feature marks each class of a label: chosen on some samples, reported on others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.errors import DataError
from biosae.progress import Advance, progress_bar

from .choice import Choice
from .fdr import benjamini_hochberg
from .intervals import auroc_intervals, resample_weights
from .mutual_information import adjusted_mutual_information
from .ranks import Ranks, auroc, ranks
from .shuffling import ShuffledNull, shuffled_null
from .sorted_codes import SortedCodes
from .thresholds import average_precision, best_thresholds, counts_above, f1

MIN_PER_CLASS = 3  # members, and non-members, that a class needs on both parts to be scored
SEPARATOR = ";"  # between the terms of a sample that has several
LUCK = 2.0  # standard deviations of a chance AUROC that a class must make up for


@dataclass(frozen=True)
class LabelScores:
    """Scores of all features for one label.

    Attributes
    ----------
    best
        One row a feature: the columns of ``label:<column>`` in docs/formats.md.
    every
        One row for every feature and class: the columns of tables/labels.csv without ``label``, and ``merit``,
        by which classes are compared on the select samples; NaN for a feature that never fires.
    markers
        One row a class: the feature that marks it best on the select samples, with the columns of ``best``.
    left_out
        Class and reason, for classes that were not scored.
    n_tests
        Pairs of a feature and a class with a p-value: the family of the q-values.
    """

    best: pd.DataFrame
    every: pd.DataFrame
    markers: pd.DataFrame
    left_out: dict[str, str]
    n_tests: int


@dataclass(frozen=True)
class LabelledCodes:
    """The samples of one part: their rows in the table, codes, ranks and ``(n, n_classes) bool`` memberships."""

    rows: np.ndarray
    codes: SortedCodes
    ranked: Ranks
    member: np.ndarray

    @classmethod
    def of(cls, codes: sparse.csr_matrix, label: np.ndarray, classes: list[str], rows: np.ndarray) -> LabelledCodes:
        in_order = SortedCodes.of(codes[rows])
        return cls(rows, in_order, ranks(in_order), memberships(label[rows], classes))


def label_scores(
    codes: sparse.csr_matrix,
    label: pd.Series,
    part: np.ndarray,
    group: np.ndarray | None,
    n_permutations: int,
    seed: int,
) -> LabelScores:
    """Scores every feature against every class of a categorical label, one class against the rest.

    For each feature the class is the one that it marks best on the select samples, and the
    threshold of F1 and AMI is the best one there; every other number is of the test samples.

    Parameters
    ----------
    codes
        ``(n_samples, d_sae)`` non-negative.
    label
        A class of each sample, or several separated by ``;``; samples where it is missing are left out.
    part
        ``(n_samples,)`` part of the split; samples of other parts than select and test are not used.
    group
        ``(n_samples,)`` donor or batch; labels are shuffled within it.

    Raises
    ------
    DataError
        If fewer than two classes are there or none has enough samples.
    """
    generator = np.random.default_rng(seed)
    text = class_names(label)
    select_rows, test_rows = (_labelled_rows(text, part, name, label.name) for name in ("select", "test"))
    classes, left_out = _scorable_classes(text, select_rows, test_rows, label.name)
    select = LabelledCodes.of(codes, text, classes, select_rows)
    test = LabelledCodes.of(codes, text, classes, test_rows)
    group = None if group is None else group[test_rows]
    chosen = _choose(select)
    class_of_feature, runner_up, feature_of_class, thresholds = chosen.for_report_on(test_rows)
    of_all = {
        "auroc_select": auroc(select.ranked, select.member),
        "auroc": auroc(test.ranked, test.member),
        "average_precision": average_precision(test.codes, test.member),
        **_agreement(test, thresholds),
    }
    null = _null(test, group, n_permutations, generator, label.name)
    of_all |= {"p_single": null.p_single, "q_value": benjamini_hochberg(null.p_single)}
    report = _Report(of_all, test, classes, null, resample_weights(group, len(test_rows), generator))
    features = np.flatnonzero(np.diff(select.codes.offsets) + np.diff(test.codes.offsets))
    of_all["merit"] = np.full_like(of_all["auroc"], np.nan)
    of_all["merit"][features] = merit(select)[features]
    with progress_bar(f"Intervals of {label.name}", len(features) + len(classes), "features") as advance:
        best = report.of_pairs(features, class_of_feature[features], advance)
        markers = report.of_pairs(feature_of_class, np.arange(len(classes)), advance)
    best["margin"] = best["auroc"] - _at(of_all["auroc"], features, runner_up[features])
    markers.insert(0, "feature", feature_of_class)
    markers["n_positive_test"] = test.member.sum(axis=0)
    return LabelScores(
        best=best[list(BEST)].set_axis(features).reindex(range(codes.shape[1])).rename_axis("feature"),
        every=_long(of_all, select, test, classes),
        markers=markers,
        left_out=left_out,
        n_tests=int(np.isfinite(null.p_single).sum()),
    )


BEST = (
    *("class", "auroc_select", "auroc", "auroc_low", "auroc_high", "average_precision", "base_rate", "effect"),
    *("f1", "threshold", "ami", "margin", "p_value", "p_single", "q_value", "null_auroc"),
)
"""Columns of ``label:<column>`` in scores.csv."""


def _choose(select: LabelledCodes) -> Choice:
    """Class and runner-up of each feature, feature of each class, thresholds, as the select samples say."""
    order = np.argsort(-merit(select), axis=1, kind="stable")
    runner_up = order[:, 1] if order.shape[1] > 1 else np.full(len(order), -1)
    thresholds = best_thresholds(select.codes, select.member)
    best_feature = auroc(select.ranked, select.member).argmax(axis=0)
    return Choice((order[:, 0], runner_up, best_feature, thresholds), select.rows)


def merit(select: LabelledCodes) -> np.ndarray:
    """``(n_features, n_classes)`` what a feature's classes are compared by.

    A class of few samples reaches a large AUROC by luck with many features, so it is the AUROC less `LUCK`
    standard deviations of what chance gives a class of this size.
    """
    n, n_members = len(select.rows), select.member.sum(axis=0)
    by_luck = np.sqrt((n + 1) / (12 * n_members * (n - n_members)))
    return auroc(select.ranked, select.member) - LUCK * by_luck


def best_labels(every: pd.DataFrame) -> pd.DataFrame:
    """Which of several labels each feature marks best, and by what margin over the next: the columns of ``labels``.

    Parameters
    ----------
    every
        Rows of several labels as `LabelScores.every` has them, with ``label``.
    """
    of_label = every.dropna(subset="merit").sort_values(["feature", "merit"], ascending=[True, False], kind="stable")
    of_label = of_label.drop_duplicates(["feature", "label"]).groupby("feature")
    best, following = (of_label.nth(n).set_index("feature")[["label", "class", "auroc"]] for n in (0, 1))
    found = best.astype({"class": object}).join(following.astype({"class": object}), rsuffix="_next")
    found["margin"] = found["auroc"] - found.pop("auroc_next")
    return found.reindex(range(every["feature"].max() + 1)).rename_axis("feature")


def _agreement(test: LabelledCodes, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    n_above, n_hits = counts_above(test.codes, test.member, thresholds)
    n_members = test.member.sum(axis=0)
    return {
        "f1": f1(n_above, n_hits, n_members),
        "threshold": thresholds,
        "ami": adjusted_mutual_information(n_hits, n_above, n_members, len(test.rows)),
    }


def _null(
    test: LabelledCodes, group: np.ndarray | None, n_permutations: int, generator: np.random.Generator, name: str
) -> ShuffledNull:
    group = np.zeros(len(test.rows), dtype=int) if group is None else group
    with progress_bar(f"Null of {name}", n_permutations, "permutations") as advance:
        return shuffled_null(test.ranked, test.member, group, n_permutations, generator, advance)


@dataclass(frozen=True)
class _Report:
    """What the test samples say of any pair of a feature and a class.

    Attributes
    ----------
    of_all
        Score -> ``(n_features, n_classes)``.
    weights
        Of the test samples, for intervals.
    """

    of_all: dict[str, np.ndarray]
    test: LabelledCodes
    classes: list[str]
    null: ShuffledNull
    weights: np.ndarray

    def of_pairs(self, features: np.ndarray, of_class: np.ndarray, advance: Advance) -> pd.DataFrame:
        """One row for each pair."""
        low, high = auroc_intervals(self.test.codes, self.test.member, features, of_class, self.weights, advance)
        columns = {name: _at(values, features, of_class) for name, values in self.of_all.items()}
        columns |= {
            "class": np.array(self.classes, dtype=object)[of_class],
            "auroc_low": low,
            "auroc_high": high,
            "base_rate": self.test.member.mean(axis=0)[of_class],
            "effect": 2 * columns["auroc"] - 1,
            "p_value": self.null.p_best(columns["auroc"], of_class),
            "null_auroc": self.null.expected_best()[of_class],
        }
        return pd.DataFrame(columns)


def _long(
    of_all: dict[str, np.ndarray], select: LabelledCodes, test: LabelledCodes, classes: list[str]
) -> pd.DataFrame:
    """One row for every feature and class."""
    n_features, n_classes = of_all["auroc"].shape
    columns = {
        "feature": np.repeat(np.arange(n_features), n_classes),
        "class": pd.Categorical.from_codes(np.tile(np.arange(n_classes), n_features), classes),
        "n_positive_select": np.tile(select.member.sum(axis=0), n_features),
        "n_positive_test": np.tile(test.member.sum(axis=0), n_features),
    }
    names = ("auroc_select", "auroc", "average_precision", "f1", "threshold", "p_single", "q_value", "merit")
    return pd.DataFrame(columns | {name: of_all[name].ravel() for name in names})


def _at(values: np.ndarray, features: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The value of each pair; NaN for class -1, which is none."""
    return np.where(classes >= 0, values[features, classes], np.nan)


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


def _labelled_rows(text: np.ndarray, part: np.ndarray, name: str, key: str) -> np.ndarray:
    rows = np.flatnonzero((part == name) & (text != None))  # noqa: E711, elementwise
    if len(rows) == 0:
        message = f"no sample of the {name} part has a value of {key}, so nothing can be scored; "
        raise DataError(message + "use more samples, a larger data.preprocess.split or another label")
    return rows


def _scorable_classes(
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
        raise DataError(message + "use more samples or a larger data.preprocess.split")
    return list(counts.index[enough]), left_out
