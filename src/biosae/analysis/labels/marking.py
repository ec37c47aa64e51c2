"""Scores of each feature for each class of a label: chosen on some samples, reported on others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.stats.auroc import auroc
from biosae.analysis.stats.held_out import HeldOutSelection
from biosae.analysis.stats.intervals import auroc_intervals, resample_weights
from biosae.analysis.stats.permutation_tests import ShuffledNull, benjamini_hochberg, shuffled_null
from biosae.analysis.stats.thresholds import (
    adjusted_mutual_information,
    average_precision,
    best_thresholds,
    counts_above,
    f1,
)
from biosae.progress import Advance, progress_bar, unseen

from .classes import LabelColumn, LabelledCodes, labelled_parts

LUCK = 2.0  # standard deviations of a chance AUROC that a class must make up for


@dataclass(frozen=True)
class LabelScores:
    """Scores of all features for one label.

    Attributes
    ----------
    best
        One row per feature: the columns of ``label:<column>`` in docs/formats.md.
    every
        One row for every feature and class: the columns of tables/labels.csv without ``label``, and ``merit``,
        by which classes are compared on the select samples; NaN for a feature that never fires.
    markers
        One row per class: the feature that marks it best on the select samples, with the columns of ``best``.
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


def label_scores(codes: sparse.csr_matrix, label: LabelColumn, n_permutations: int, seed: int) -> LabelScores:
    """Scores every feature against every class of a categorical label, one class against the rest.

    For each feature the class is the one that it marks best on the select samples, and the
    threshold of F1 and AMI is the best one there; every other number is of the test samples.

    Parameters
    ----------
    codes
        ``(n_samples, d_sae)`` non-negative.
    label
        A class of each sample, or several separated by ``;``.

    Raises
    ------
    DataError
        If fewer than two classes are there or none has enough samples.
    """
    generator = np.random.default_rng(seed)
    select, test, classes, left_out = labelled_parts(codes, label)
    group = label.groups[test.rows]
    chosen = _choose(select)
    class_of_feature, runner_up, feature_of_class, thresholds = chosen.for_report_on(test.rows)
    of_all = {
        "auroc_select": auroc(select.ranked, select.member),
        "auroc": auroc(test.ranked, test.member),
        "average_precision": average_precision(test.codes, test.member),
        **_agreement(test, thresholds),
    }
    with progress_bar(f"Null of {label.name}", n_permutations, "permutations") as advance:
        null = shuffled_null(test.ranked, test.member, group, n_permutations, generator, advance)
    of_all |= {"p_single": null.p_single, "q_value": benjamini_hochberg(null.p_single)}
    on_test = _TestScores(of_all, test, classes, null, resample_weights(group, len(test.rows), generator))
    features = np.flatnonzero(np.diff(select.codes.offsets) + np.diff(test.codes.offsets))
    of_all["merit"] = np.full_like(of_all["auroc"], np.nan)
    of_all["merit"][features] = merit(select)[features]
    with progress_bar(f"Intervals of {label.name}", len(features) + len(classes), "features") as advance:
        best = on_test.of_pairs(features, class_of_feature[features], advance)
        markers = on_test.of_pairs(feature_of_class, np.arange(len(classes)), advance)
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


def class_markers(codes: sparse.csr_matrix, label: LabelColumn, n_permutations: int, seed: int) -> pd.DataFrame:
    """The feature that marks each class best on the select samples, as in `LabelScores.markers`, with fewer scores.

    Returns
    -------
    One row per class: ``class``, ``feature``, and on the test samples ``auroc``, ``null_auroc`` and ``p_value``.
    """
    select, test, classes, _ = labelled_parts(codes, label)
    best_feature = HeldOutSelection(auroc(select.ranked, select.member).argmax(axis=0), select.rows).for_report_on(
        test.rows
    )
    reached = auroc(test.ranked, test.member)[best_feature, np.arange(len(classes))]
    generator = np.random.default_rng(seed)
    null = shuffled_null(test.ranked, test.member, label.groups[test.rows], n_permutations, generator, unseen)
    columns = {"class": classes, "feature": best_feature, "auroc": reached, "null_auroc": null.expected_best()}
    return pd.DataFrame(columns | {"p_value": null.p_best(reached, np.arange(len(classes)))})


BEST = (
    *("class", "auroc_select", "auroc", "auroc_low", "auroc_high", "average_precision", "base_rate", "effect"),
    *("f1", "threshold", "ami", "margin", "p_value", "p_single", "q_value", "null_auroc"),
)
"""Columns of ``label:<column>`` in scores.csv."""


def _choose(select: LabelledCodes) -> HeldOutSelection:
    """Class and runner-up of each feature, feature of each class, and thresholds, chosen on the select samples."""
    order = np.argsort(-merit(select), axis=1, kind="stable")
    runner_up = order[:, 1] if order.shape[1] > 1 else np.full(len(order), -1)
    thresholds = best_thresholds(select.codes, select.member)
    best_feature = auroc(select.ranked, select.member).argmax(axis=0)
    return HeldOutSelection((order[:, 0], runner_up, best_feature, thresholds), select.rows)


def merit(select: LabelledCodes) -> np.ndarray:
    """``(n_features, n_classes)`` merit, by which the classes of a feature are compared.

    A class of few samples reaches a large AUROC by luck with many features, so it is the AUROC less `LUCK`
    standard deviations of what chance gives a class of this size.
    """
    n, n_members = len(select.rows), select.member.sum(axis=0)
    by_luck = np.sqrt((n + 1) / (12 * n_members * (n - n_members)))
    return auroc(select.ranked, select.member) - LUCK * by_luck


def best_labels(every: pd.DataFrame) -> pd.DataFrame:
    """The label, of several, that each feature marks best, and the margin over the next: the columns of ``labels``.

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


@dataclass(frozen=True)
class _TestScores:
    """Scores on the test samples of any pair of a feature and a class.

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
