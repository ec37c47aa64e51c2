"""The feature of each class scored once more, on other samples whose classes have the same names."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.stats.auroc import SortedCodes, auroc, midranks
from biosae.analysis.stats.permutation_tests import shuffled_rows
from biosae.analysis.stats.thresholds import f1

from .classes import MIN_PER_CLASS, class_names, memberships

N_PERMUTATIONS = 1000
COLUMNS = ("class", "feature", "n_positive", "auroc", "null_auroc", "p_value", "threshold", "f1")


def transferred_markers(
    codes: sparse.csr_matrix, label: pd.Series, group: pd.Series | None, markers: pd.DataFrame, seed: int
) -> pd.DataFrame:
    """AUROC of features for the classes that they were chosen for elsewhere.

    Nothing is chosen here, so that all samples count and the null is that of one feature.

    Parameters
    ----------
    codes
        ``(n, d_sae)`` pooled codes of the other samples.
    label
        Their classes.
    group
        Donor or batch within which classes are shuffled; None shuffles freely.
    markers
        Columns ``class``, ``feature`` and ``threshold``; classes with fewer than `MIN_PER_CLASS` samples are left out.

    Returns
    -------
    DataFrame
        `COLUMNS`: ``null_auroc`` is the 95th percentile with shuffled classes, and ``f1`` that of calling the samples
        at or above the threshold members.
    """
    text = class_names(label)
    known = np.flatnonzero(text != None)  # noqa: E711, elementwise
    names = markers["class"].tolist()
    member = memberships(text[known], names)
    n_positive = member.sum(axis=0)
    kept = np.flatnonzero((n_positive >= MIN_PER_CLASS) & (len(known) - n_positive >= MIN_PER_CLASS))
    of_group = np.zeros(len(known), int) if group is None else group.astype(str).to_numpy()[known]
    rows = shuffled_rows(of_group, N_PERMUTATIONS, np.random.default_rng(seed))
    found = []
    for c in kept:
        feature = int(markers["feature"].iloc[c])
        own, threshold = sparse.csr_matrix(codes[known][:, [feature]]), float(markers["threshold"].iloc[c])
        ranked = midranks(SortedCodes.of(own))
        reached = float(auroc(ranked, member[:, [c]])[0, 0])
        called = own.toarray().ravel() >= threshold
        null = auroc(ranked, member[rows, c].T)[0]
        p_value = (1 + int((null >= reached - 1e-9).sum())) / (1 + N_PERMUTATIONS)
        row = {"class": names[c], "feature": feature, "n_positive": int(n_positive[c]), "auroc": reached}
        row |= {"null_auroc": float(np.quantile(null, 0.95)), "p_value": p_value, "threshold": threshold}
        found.append(row | {"f1": float(f1(called.sum(), (called & member[:, c]).sum(), n_positive[c]))})
    return pd.DataFrame(found, columns=list(COLUMNS))
