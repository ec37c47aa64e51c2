"""Label scores of a run: every requested column of obs, with donor-level tests where there are donors."""

from __future__ import annotations

import logging

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.results import Results, without_nan
from biosae.analysis.stats.held_out import HeldOutSelection
from biosae.analysis.stats.permutation_tests import SIGNIFICANT_Q
from biosae.errors import DataError

from .classes import LabelColumn, is_constant_within
from .continuous import continuous_scores, is_continuous, is_number
from .marking import LabelScores, best_labels, label_scores
from .replicates import MIN_DONORS, donor_correlations, donor_scores

logger = logging.getLogger(__name__)

LABEL_COLUMNS = (
    *("feature", "label", "class", "n_positive_select", "n_positive_test", "auroc_select", "auroc"),
    *("average_precision", "f1", "threshold", "p_single", "q_value"),
)
"""Columns of tables/labels.csv."""

MARKER_COLUMNS = (
    *("class", "feature", "auroc_select", "auroc", "auroc_low", "auroc_high", "null_auroc", "p_value", "q_value"),
    "n_positive_test",
)
CONTINUOUS_COLUMNS = ("spearman_select", "spearman", "null_spearman", "p_value", "q_value")
GENES_IN_SUMMARY = 5


def score_labels(
    results: Results,
    table: anndata.AnnData,
    label_keys: list[str],
    group_key: str | None,
    n_permutations: int,
    seed: int,
) -> None:
    """Score every label; one that cannot be scored is named in the log and in analysis.json."""
    summary = {"labels": {}, "continuous": {}, "labels_left_out": {}}
    results.summary |= summary
    part, every = table.obs["biosae_part"].astype(str).to_numpy(), []
    for key in label_keys:
        # Shuffling a label within itself changes nothing, so the group's own column is shuffled freely.
        group = None if group_key in (None, key) else table.obs[group_key].astype(str)
        label = LabelColumn(table.obs[key], part, group)
        score = _score_numbers if is_continuous(label.values) else _score_classes
        _say_how_numbers_are_read(label.values)
        try:
            every.append(score(results, table.X.tocsr(), label, n_permutations, seed))
        except DataError as error:
            summary["labels_left_out"][key] = str(error)
            logger.warning("%s is not scored: %s", key, error)
    every = [found for found in every if found is not None]
    if every:
        together = pd.concat(every, ignore_index=True)
        results.tables["labels"] = together[list(LABEL_COLUMNS)]
    if len(every) > 1:
        results.add_selected("labels", best_labels(together), part)


def _say_how_numbers_are_read(values: pd.Series) -> None:
    if not is_number(values):
        return
    n = values.nunique()
    if is_continuous(values):
        logger.info("%s: %d different numbers, read as numbers; store it as text to score its classes", values.name, n)
    else:
        logger.info("%s: %d different numbers, read as %d classes", values.name, n, n)


def _score_numbers(
    results: Results, codes: sparse.csr_matrix, label: LabelColumn, n_permutations: int, seed: int
) -> None:
    found = continuous_scores(codes, label, n_permutations, seed)
    value = label.values.to_numpy(dtype=np.float64, na_value=np.nan)
    results.add_selected(f"label:{label.name}", found, label.part[np.isfinite(value)])
    summary = _numbers_summary(found)
    results.summary["continuous"][label.name] = summary | _untested_reason(summary["n_tests"], label)
    test = _test_rows_of_donors(label, np.isfinite(value))
    if len(test):
        direction = HeldOutSelection(
            np.sign(found["spearman_select"].to_numpy()), np.flatnonzero(label.part == "select")
        )
        arguments = (codes[test], value[test], label.groups[test], direction.for_report_on(test))
        _add_donors(results, label.name, donor_correlations(*arguments))


def _score_classes(
    results: Results, codes: sparse.csr_matrix, label: LabelColumn, n_permutations: int, seed: int
) -> pd.DataFrame:
    """Score a label of classes and return its rows of tables/labels.csv."""
    scores = label_scores(codes, label, n_permutations, seed)
    text = label.classes
    is_known = text != None  # noqa: E711, elementwise
    results.add_selected(f"label:{label.name}", scores.best, label.part[is_known])
    for name, reason in scores.left_out.items():
        logger.warning("%s=%s is not scored: %s", label.name, name, reason)
    summary = _classes_summary(scores, results.analyses)
    results.summary["labels"][label.name] = summary | _untested_reason(scores.n_tests, label)
    untested = [marker["class"] for marker in summary["classes"] if marker["null_auroc"] is None]
    if untested and scores.n_tests:
        message = "%s: no test of %s, which shuffling within %s leaves as it is"
        logger.warning(message, label.name, ", ".join(untested), getattr(label.group, "name", "all samples"))
    test = _test_rows_of_donors(label, is_known)
    if len(test):
        chosen = HeldOutSelection(scores.best["class"].to_numpy(dtype=object), np.flatnonzero(label.part == "select"))
        arguments = (codes[test], text[test], label.groups[test], chosen.for_report_on(test))
        _add_donors(results, label.name, donor_scores(*arguments))
    return scores.every.assign(label=label.name)


def _test_rows_of_donors(label: LabelColumn, is_known: np.ndarray) -> np.ndarray:
    """Test samples with a label for donor-level tests; none where there are fewer than `MIN_DONORS` donors."""
    test = np.flatnonzero((label.part == "test") & is_known)
    return test if len(np.unique(label.groups[test])) >= MIN_DONORS else test[:0]


def _add_donors(results: Results, key: str, found: pd.DataFrame) -> None:
    results.analyses[f"donors:{key}"] = found
    results.samples[f"donors:{key}"] = results.samples[f"label:{key}"]


def _untested_reason(n_tests: int, label: LabelColumn) -> dict[str, str | None]:
    """``untested``: the reason no test was possible, or None. Also logged."""
    if n_tests:
        logger.info("%s: %d tests", label.name, n_tests)
        return {"untested": None}
    reason = f"no feature's score changes when {label.name} is shuffled"
    test = label.part == "test"
    if label.group is not None and is_constant_within(label.values[test], label.groups[test]):
        of_group = f"each {label.group.name} has one {label.name} only"
        reason = f"{of_group}, so that shuffling within {label.group.name} changes nothing"
    logger.warning("%s: no test was possible, because %s", label.name, reason)
    return {"untested": reason}


def _classes_summary(scores: LabelScores, analyses: dict[str, pd.DataFrame]) -> dict:
    """The marker of every class with its held-out score, its null and its leading genes.

    Parameters
    ----------
    analyses
        The columns of scores.csv so far: ``genes`` and ``expressed`` have genes, when they were scored.
    """
    markers = scores.markers[list(MARKER_COLUMNS)].to_dict("records")
    for marker in markers:
        marker["top_genes"] = _leading_genes(analyses.get("genes"), marker["feature"])
        marker["expressed_genes"] = _leading_genes(analyses.get("expressed"), marker["feature"])
    return {
        "n_features": int(scores.best["class"].notna().sum()),
        "n_significant": int((scores.best["q_value"] < SIGNIFICANT_Q).sum()),
        "n_tests": scores.n_tests,
        "classes": [without_nan(marker) for marker in markers],
        "classes_left_out": scores.left_out,
    }


def _leading_genes(scores: pd.DataFrame | None, feature: int) -> list[str]:
    named = None if scores is None else scores.loc[feature, "top_genes"]
    return named.split(";")[:GENES_IN_SUMMARY] if isinstance(named, str) else []


def _numbers_summary(scores: pd.DataFrame) -> dict:
    """The feature that follows the numbers best on the select samples, with its held-out correlation."""
    strength = scores["spearman_select"].abs()
    best = None
    if strength.notna().any():
        feature = int(strength.idxmax())
        best = without_nan({"feature": feature, **scores.loc[feature, list(CONTINUOUS_COLUMNS)].to_dict()})
    return {
        "n_features": int(scores["spearman"].notna().sum()),
        "n_significant": int((scores["q_value"] < SIGNIFICANT_Q).sum()),
        "n_tests": int(scores["p_single"].notna().sum()),
        "best": best,
    }
