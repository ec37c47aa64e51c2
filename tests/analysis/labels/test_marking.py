import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.metrics import adjusted_mutual_info_score, average_precision_score, f1_score, roc_auc_score

from biosae.analysis.labels.classes import LabelColumn
from biosae.analysis.labels.marking import BEST, best_labels, class_markers, label_scores
from biosae.errors import DataError

PARTS = ("train", "validate", "select", "test")


def random_codes(generator, n_samples, n_features, density=0.4):
    return sparse.random(n_samples, n_features, density, random_state=generator, format="csr", dtype=np.float32)


def make(seed, n_samples=300, n_features=20, classes="ABC"):
    """Codes, a label and parts, none of which knows of the others."""
    generator = np.random.default_rng(seed)
    label = pd.Series(generator.choice(list(classes), n_samples), name="cell_type")
    return random_codes(generator, n_samples, n_features), label, generator.choice(PARTS[2:], n_samples)


def score(codes, label, part, group=None, n_permutations=99, seed=0):
    return label_scores(codes, column(label, part, group), n_permutations, seed)


def column(label, part, group=None):
    return LabelColumn(label, part, None if group is None else pd.Series(group))


def test_every_number_is_that_of_scikit_learn():
    codes, label, part = make(0)
    scores = score(codes, label, part)
    dense, label = codes.toarray(), label.to_numpy()
    select, test = part == "select", part == "test"
    aurocs = np.array([[roc_auc_score(label[select] == c, column[select]) for c in "ABC"] for column in dense.T])
    n = np.array([(label[select] == c).sum() for c in "ABC"])
    deviation_by_luck = np.sqrt((select.sum() + 1) / (12 * n * (select.sum() - n)))
    assert tuple(scores.best.columns) == BEST
    for feature, row in scores.best.iterrows():
        order = np.argsort(2 * deviation_by_luck - aurocs[feature])
        assert row["class"] == "ABC"[order[0]]
        member, code = label[test] == row["class"], dense[test, feature]
        on = code >= row["threshold"]
        expected = {
            "auroc_select": aurocs[feature, order[0]],
            "auroc": roc_auc_score(member, code),
            "average_precision": average_precision_score(member, code),
            "base_rate": member.mean(),
            "effect": 2 * roc_auc_score(member, code) - 1,
            "f1": f1_score(member, on),
            "ami": adjusted_mutual_info_score(member, on),
            "margin": roc_auc_score(member, code) - roc_auc_score(label[test] == "ABC"[order[1]], code),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(row[name], value, rtol=0, atol=1e-6, err_msg=name)
        candidates = np.unique(dense[select, feature])[1:]
        best = max(f1_score(label[select] == row["class"], dense[select, feature] >= t) for t in candidates)
        chosen = f1_score(label[select] == row["class"], dense[select, feature] >= row["threshold"])
        np.testing.assert_allclose(chosen, best)


def test_the_long_table_agrees_with_the_best_class():
    codes, label, part = make(1)
    scores = score(codes, label, part)
    assert len(scores.every) == scores.n_tests == 20 * 3
    merged = scores.best.reset_index().merge(scores.every, on=["feature", "class"], suffixes=("", "_long"))
    assert len(merged) == 20
    for name in ("auroc_select", "auroc", "average_precision", "f1", "threshold"):
        np.testing.assert_array_equal(merged[name], merged[f"{name}_long"])
    for name in ("select", "test"):
        counts = label[part == name].value_counts()
        per_class = scores.every.groupby("class", observed=True)[f"n_positive_{name}"].agg(["min", "max"])
        np.testing.assert_array_equal(per_class["min"], counts[per_class.index])
        np.testing.assert_array_equal(per_class["max"], counts[per_class.index])


def test_samples_of_other_parts_change_nothing():
    codes, label, part = make(2)
    part[:100] = "train"
    expected = score(codes, label, part).best
    other = codes.tolil()
    other[:100] = 7
    pd.testing.assert_frame_equal(score(other.tocsr(), label, part).best, expected)


def test_missing_labels_are_left_out():
    codes, label, part = make(3)
    label[:50], label[50:60] = None, " "
    scores = score(codes, label, part).best
    kept = label.notna() & (label != " ")
    expected = score(codes[kept.to_numpy()], label[kept].reset_index(drop=True), part[kept]).best
    pd.testing.assert_frame_equal(scores, expected)


def test_a_small_class_is_left_out_with_its_reason():
    codes, label, part = make(4)
    rows = np.flatnonzero(part == "test")[:2].tolist() + np.flatnonzero(part == "select")[:9].tolist()
    label[rows] = "rare"
    scores = score(codes, label, part)
    assert scores.left_out == {"rare": "9 select and 2 test samples; at least 3 of each, and of the rest"}
    assert set(scores.every["class"]) == {"A", "B", "C"}


def test_a_rare_class_is_not_chosen_by_luck():
    codes, label, part = make(10, n_samples=2000, n_features=200, classes="AB")
    for name in ("select", "test"):
        label[np.flatnonzero(part == name)[:5]] = "rare"
    chosen = score(codes, label, part, n_permutations=1).best["class"]
    largest = score(codes, label, part, n_permutations=1).every.pivot(
        index="feature", columns="class", values="auroc_select"
    )
    assert (largest.idxmax(axis=1) == "rare").mean() > 0.4  # what the largest AUROC would choose
    assert (chosen == "rare").mean() < 0.1


def test_two_classes_mirror_each_other():
    codes, label, part = make(5, classes="AB")
    every = score(codes, label, part).every.pivot(index="feature", columns="class", values="auroc")
    np.testing.assert_allclose(every["A"], 1 - every["B"], atol=1e-12)


def test_a_feature_that_never_fires_is_undefined():
    codes, label, part = make(6)
    codes = codes.tolil()
    codes[:, 4] = 0
    best = score(codes.tocsr(), label, part).best
    assert best.loc[4].isna().all()
    assert score(codes.tocsr(), label, part).n_tests == 19 * 3
    assert best.drop(4).notna().all(axis=None)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (["A"] * 300, "cell_type has one class only"),
        ([None] * 300, "no sample of the select part has a value of cell_type"),
        ([f"c{n}" for n in range(300)], "no class of cell_type has 3 samples in both parts"),
    ],
)
def test_a_label_that_cannot_be_scored_is_one_error(label, message):
    codes, _, part = make(7)
    with pytest.raises(DataError, match=message):
        score(codes, pd.Series(label, name="cell_type"), part)


def test_no_test_samples_is_an_error():
    codes, label, part = make(9)
    with pytest.raises(DataError, match="no sample of the test part"):
        score(codes, label, np.where(part == "test", "train", part))


def test_p_values_are_uniform_under_shuffled_labels():
    p_single, p_best = [], []
    for seed in range(40):
        codes, label, part = make(seed, n_samples=400, n_features=60)
        best = score(codes, label, part, seed=seed).best
        p_single.extend(best["p_single"].sample(10, random_state=seed))
        p_best.append(best["p_value"].min())
    # One seed in a thousand would fail; the seeds are fixed. The class was chosen on other samples.
    assert stats.kstest(p_single, "uniform").pvalue > 1e-3
    # Three classes share the features, so that the best feature is compared within its class only.
    assert np.mean(np.array(p_best) <= 0.05) <= 3 * 0.05 + 3 * np.sqrt(0.15 * 0.85 / 40)


def test_the_false_discovery_rate_is_held_with_planted_signals():
    shares = []
    for seed in range(40):
        codes, label, part = make(seed, n_samples=600, n_features=100)
        planted = {feature: "ABC"[feature % 3] for feature in range(10)}
        codes = codes.tolil()
        for feature, name in planted.items():
            rows = np.flatnonzero(label == name)
            codes[rows, feature] = codes[rows, feature].toarray() + 0.4
        scores = score(codes.tocsr(), label, part, seed=seed)
        found = scores.every[scores.every["q_value"] < 0.05]
        is_true = found["feature"].map(planted) == found["class"].astype(str)
        shares.append(1 - is_true.mean())
        assert is_true.sum() == len(planted)
    # The false discovery rate is at most 5 %; three standard errors of 40 repeats are allowed for.
    assert np.mean(shares) <= 0.05 + 3 * np.std(shares) / np.sqrt(40)
    assert np.mean(shares) > 0  # nulls are not all silenced


def test_one_family_of_all_features_and_classes_is_corrected():
    codes, label, part = make(12)
    scores = score(codes, label, part)
    expected = stats.false_discovery_control(scores.every["p_single"])
    np.testing.assert_allclose(scores.every["q_value"], expected, rtol=1e-12)
    assert scores.n_tests == 20 * 3
    for shown in (scores.best.reset_index(), scores.markers):
        merged = shown.merge(scores.every, on=["feature", "class"], suffixes=("", "_long"))
        assert len(merged) == len(shown)
        np.testing.assert_array_equal(merged["q_value"], merged["q_value_long"])
        np.testing.assert_array_equal(merged["p_single"], merged["p_single_long"])


def test_a_label_of_the_donor_is_not_tested_within_donors():
    codes, _, part = make(11)
    donor = np.random.default_rng(0).choice(["d0", "d1", "d2", "d3"], 300)
    label = pd.Series(np.where(donor < "d2", "ill", "well"), name="disease")
    best = score(codes, label, part, donor).best
    assert best[["p_value", "p_single", "q_value", "null_auroc"]].isna().all(axis=None)
    markers = class_markers(codes, column(label, part, donor), 9, 0)
    assert markers[["p_value", "null_auroc"]].isna().all(axis=None)


def test_a_class_that_batches_have_whole_or_not_at_all_has_no_null():
    codes, label, part = make(12)
    batch = pd.Series(np.random.default_rng(0).choice(["b0", "b1"], 300))
    label[batch == "b1"] = "D"
    markers = score(codes, label, part, batch).markers.set_index("class")
    assert markers.loc["D", ["p_value", "null_auroc"]].isna().all()
    assert markers.loc[["A", "B", "C"], ["p_value", "null_auroc"]].notna().all(axis=None)


def test_a_sample_may_have_several_terms_and_each_is_scored_against_the_rest():
    codes, _, part = make(5)
    generator = np.random.default_rng(5)
    has = generator.random((300, 3)) < [0.5, 0.3, 0.2]
    text = np.array(["; ".join(np.array(["x", "y", "z"])[row]) for row in has], dtype=object)
    scores = score(codes, pd.Series(text, name="go"), part)
    known = (part == "test") & has.any(axis=1)  # an empty value is not known to lack the terms
    dense = codes.toarray()
    rows = scores.every.set_index(["feature", "class"])
    for n, term in enumerate("xyz"):
        assert rows.loc[(0, term), "n_positive_test"] == has[known, n].sum()
        expected = roc_auc_score(has[known, n], dense[known, 3])
        np.testing.assert_allclose(rows.loc[(3, term), "auroc"], expected, atol=1e-6)


def test_the_label_that_is_marked_best_and_the_next():
    codes, label, part = make(13, n_samples=600)
    generator = np.random.default_rng(13)
    batch = pd.Series(generator.choice(["b1", "b2"], 600), name="batch")
    codes = codes.tolil()
    rows = np.flatnonzero(batch == "b2")
    codes[rows, 3] = codes[rows, 3].toarray() + 0.5
    rows = np.flatnonzero(label == "C")
    codes[rows, 4] = codes[rows, 4].toarray() + 0.5
    codes[:, 5] = 0
    scores = {each.name: score(codes.tocsr(), each, part) for each in (label, batch)}
    found = best_labels(pd.concat([one.every.assign(label=name) for name, one in scores.items()], ignore_index=True))
    assert found.loc[3, ["label", "class", "label_next"]].tolist() == ["batch", "b2", "cell_type"]
    assert found.loc[4, ["label", "class", "label_next"]].tolist() == ["cell_type", "C", "batch"]
    assert found.loc[5].isna().all() and len(found) == 20
    for feature in (3, 4):
        first, following = (scores[found.loc[feature, name]].best.loc[feature] for name in ("label", "label_next"))
        assert (first["class"], following["class"]) == tuple(found.loc[feature, ["class", "class_next"]])
        assert found.loc[feature, "auroc"] == first["auroc"]
        assert found.loc[feature, "margin"] == pytest.approx(first["auroc"] - following["auroc"])


@pytest.mark.parametrize("grouped", [False, True])
def test_markers_alone_are_those_of_all_scores(grouped):
    codes, label, part = make(3)
    group = np.array(list("XYZ") * 100) if grouped else None
    alone, of_all = class_markers(codes, column(label, part, group), 99, 0), score(codes, label, part, group).markers
    pd.testing.assert_frame_equal(alone, of_all[list(alone.columns)], check_dtype=False)


@pytest.mark.parametrize("word", ["?", "unlabelled", "Unlabeled", "UNKNOWN", "nan", "NA", "unassigned", "<NA>"])
def test_words_that_name_no_class_are_left_out_like_missing_labels(word):
    codes, label, part = make(3)
    with_word, missing = label.copy(), label.copy()
    with_word[:50], missing[:50] = word, None
    found, expected = score(codes, with_word, part), score(codes, missing, part)
    pd.testing.assert_frame_equal(found.best, expected.best)
    assert set(found.markers["class"]) == {"A", "B", "C"}
    assert found.left_out == {word: "it names no class; 50 samples are left out"}


def test_a_word_that_names_no_class_beside_terms_is_no_term():
    codes, label, part = make(3)
    several = label.where(label != "A", "A; unknown")
    pd.testing.assert_frame_equal(score(codes, several, part).best, score(codes, label, part).best)


def test_cluster_numbers_keep_their_names_in_a_column_with_gaps():
    codes, label, part = make(3)
    number = label.map({"A": 0.0, "B": 1.0, "C": 2.0})
    number[:50] = np.nan
    assert set(score(codes, number, part).markers["class"]) == {"0", "1", "2"}
