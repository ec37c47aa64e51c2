"""The verdict over the controls, on planted studies."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from biosae.analysis.control_claims import class_differences, verdict
from biosae.analysis.labels.classes import LabelColumn
from biosae.features.pool import PooledAxes

CLASSES = ["a", "b"]


def study(seed, of_sae, of_control, n=240):
    """Differences in a study where class a shifts the SAE's and the control's only axis by so many deviations."""
    generator = np.random.default_rng(seed)
    label = pd.Series(generator.permutation(np.repeat(CLASSES, [n // 4, n - n // 4])), name="type")
    inside = (label == "a").to_numpy()
    axes = {
        name: PooledAxes(sparse.csr_matrix(10 + generator.normal(size=(n, 1)) + shift * inside[:, None]), np.ones(1))
        for name, shift in {"sae": of_sae, "depth": of_control}.items()
    }
    markers = pd.DataFrame({"class": ["a"], "feature": [0], "p_value": [0.001]})
    column = LabelColumn(label, np.full(n, "test"), None)
    return class_differences(axes, {"sae": markers, "depth": markers}, column, seed), axes, inside


def test_the_difference_is_that_of_scikit_learn():
    found, axes, inside = study(0, of_sae=2, of_control=1)
    sae, control = (roc_auc_score(inside, each.codes.toarray().ravel()) for each in axes.values())
    row = found.iloc[0]
    assert (row["auroc"], row["control_auroc"]) == pytest.approx((sae, control), abs=1e-6)  # codes are float32
    assert row["difference"] == pytest.approx(sae - control, abs=1e-6)
    assert row["low"] < row["difference"] < row["high"]


def test_a_feature_that_is_no_better_than_its_control_survives_in_few_studies():
    survived = [study(seed, of_sae=1, of_control=1)[0]["beaten"].item() for seed in range(100)]
    assert sum(survived) <= 5  # 2.5 expected


def test_a_feature_that_is_better_survives_in_most_studies():
    assert sum(study(seed, of_sae=2, of_control=0.5)[0]["beaten"].item() for seed in range(40)) >= 38


def test_a_class_of_three_members_is_not_decided_by_resampling_them():
    label = pd.Series(["a"] * 3 + ["b"] * 60, name="type")
    perfect, other = np.r_[9, 9, 9, np.ones(60)], np.r_[1.5, 1.5, 1.5, np.linspace(1, 2, 60)]
    axes = {
        name: PooledAxes(sparse.csr_matrix(x[:, None]), np.ones(1)) for name, x in [("sae", perfect), ("pca", other)]
    }
    markers = pd.DataFrame({"class": ["a"], "feature": [0], "p_value": [0.001]})
    column = LabelColumn(label, np.full(63, "test"), None)
    row = class_differences(axes, {"sae": markers, "pca": markers}, column, 0).iloc[0]
    assert row["difference"] == pytest.approx(0.5, abs=0.01)
    assert row["low"] < 0.3


def test_the_verdict_counts_claims_and_names_the_controls_that_are_not_beaten():
    rows = [
        ("a", 0.01, "pca", True),
        ("a", 0.01, "depth", True),
        ("b", 0.01, "pca", False),
        ("b", 0.01, "depth", False),
    ]
    rows += [("c", 0.01, "pca", False), ("c", 0.01, "depth", True), ("d", 0.5, "pca", False), ("d", 0.5, "depth", True)]
    table = pd.DataFrame(rows, columns=["class", "p_value", "control", "beaten"]).assign(label="type")
    assert verdict(table) == "1 of 3 claims survive every control; not beaten: pca (2), depth (1)"
    assert verdict(table[table["class"] == "a"]) == "1 of 1 claims survive every control"
