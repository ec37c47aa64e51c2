import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import f1_score, roc_auc_score

from biosae.analysis.labels.transfer import transferred_markers

MARKERS = pd.DataFrame({"class": ["B", "T", "rare", "elsewhere"], "feature": [0, 1, 0, 1], "threshold": 2.0})


@pytest.fixture
def other():
    """Feature 0 marks B, feature 1 nothing; one cell has no class, two are rare."""
    generator = np.random.default_rng(5)
    label = generator.choice(["B", "T", "NK"], 200).astype(object)
    label[:2], label[2] = "rare", None
    codes = generator.gamma(1, 1, (200, 2))
    codes[:, 0] += 3 * (label == "B")
    return sparse.csr_matrix(codes), pd.Series(label)


def test_features_are_scored_for_the_class_they_were_chosen_for(other):
    codes, label = other
    found = transferred_markers(codes, label, None, MARKERS, seed=0).set_index("class")
    assert list(found.index) == ["B", "T"]  # two rare cells are too few, and there is no class "elsewhere"
    known = label.notna().to_numpy()
    for name, feature in (("B", 0), ("T", 1)):
        expected = roc_auc_score(label[known] == name, codes.toarray()[known, feature])
        assert found.loc[name, "auroc"] == pytest.approx(expected)
        called = codes.toarray()[known, feature] >= 2.0
        assert found.loc[name, "f1"] == pytest.approx(f1_score(label[known] == name, called))
    assert found.loc["B", "p_value"] == pytest.approx(1 / 1001) and found.loc["T", "p_value"] > 0.05
    assert 0.5 < found.loc["B", "null_auroc"] < 0.65


def test_classes_are_shuffled_within_donors(other):
    codes, label = other
    donor = label.fillna("none")  # every donor has one class: shuffling changes nothing
    found = transferred_markers(codes, label, donor, MARKERS, seed=0).set_index("class")
    assert found.loc["B", "p_value"] == 1 and found.loc["B", "null_auroc"] == pytest.approx(found.loc["B", "auroc"])


def test_no_class_in_common_gives_an_empty_table(other):
    codes, label = other
    assert transferred_markers(codes, label, None, MARKERS.iloc[3:], seed=0).empty
    assert np.shape(transferred_markers(codes, label, None, MARKERS.iloc[3:], seed=0))[1] == 8
