import itertools

import numpy as np
import pytest
from scipy import sparse, stats

from biosae.analysis.labels.replicates import donor_correlations, donor_scores, pseudobulk, signed_rank_p_values


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def simulated(generator, n_donors=6, per_donor=40, n_features=5):
    donor = np.repeat([f"d{i}" for i in range(n_donors)], per_donor)
    label = np.where(generator.random(len(donor)) < 0.3, "T", "B").astype(object)
    codes = sparse.csr_matrix(np.maximum(0, generator.normal(0, 1, (len(donor), n_features))))
    return donor, label, codes


def test_tests_within_donors_equal_a_plain_loop(generator):
    donor, label, codes = simulated(generator)
    scores = donor_scores(codes, label, donor, np.array(["T"] * 5, dtype=object))
    dense = codes.toarray()
    for feature in range(5):
        differences = [
            dense[(donor == d) & (label == "T"), feature].mean() - dense[(donor == d) & (label != "T"), feature].mean()
            for d in np.unique(donor)
        ]
        np.testing.assert_allclose(scores.loc[feature, "difference"], np.mean(differences), rtol=1e-10)
        assert scores.loc[feature, "consistency"] == np.mean(np.array(differences) > 0)
        expected = stats.wilcoxon(differences, alternative="greater").pvalue
        np.testing.assert_allclose(scores.loc[feature, "p_value"], expected)
    assert (scores["n_donors"] == 6).all()


def test_a_label_of_the_donor_is_tested_between_donors(generator):
    donor, _, codes = simulated(generator, n_donors=8)
    label = np.where(np.isin(donor, ["d0", "d1", "d2"]), "sick", "well").astype(object)
    shifted = codes.toarray()
    shifted[label == "sick", 1] += 5
    scores = donor_scores(sparse.csr_matrix(shifted), label, donor, np.array(["sick"] * 5, dtype=object))
    # All three sick donors above all five others: one of the 56 ways to choose three of eight.
    np.testing.assert_allclose(scores.loc[1, "p_value"], 1 / 56)
    assert scores.loc[1, "consistency"] == 1
    means = np.array([shifted[donor == d, 0].mean() for d in np.unique(donor)])
    expected = stats.mannwhitneyu(means[:3], means[3:], alternative="greater", method="exact").pvalue
    np.testing.assert_allclose(scores.loc[0, "p_value"], expected)


def test_many_cells_of_few_donors_prove_nothing(generator):
    """A donor effect that splits by chance along the label is no finding, however many cells there are."""
    donor = np.repeat(["a", "b"], 5000)
    label = np.where(donor == "a", "T", "B").astype(object)
    codes = sparse.csr_matrix(generator.random((10_000, 1)) + (donor == "a")[:, None])
    scores = donor_scores(codes, label, donor, np.array(["T"], dtype=object))
    assert np.isnan(scores.loc[0, "p_value"]) and scores.loc[0, "n_donors"] == 2


def test_p_values_are_uniform_without_an_effect(generator):
    p_values = []
    for _ in range(40):
        donor, label, _ = simulated(generator, n_donors=14, per_donor=30)
        of_donor = np.repeat(generator.uniform(5, 50, (14, 5)), 30, axis=0)
        codes = sparse.csr_matrix(of_donor + generator.normal(0, 1, (len(donor), 5)))
        p_values.append(donor_scores(codes, label, donor, np.array(["T"] * 5, dtype=object))["p_value"])
    assert stats.kstest(np.concatenate(p_values), "uniform").pvalue > 1e-3  # fixed seed


def test_donors_with_few_cells_on_a_side_are_left_out(generator):
    donor, label, codes = simulated(generator)
    label[np.flatnonzero((donor == "d0") & (label == "T"))[4:]] = "B"
    assert pseudobulk(codes, label == "T", donor).donors == ["d1", "d2", "d3", "d4", "d5"]


def test_a_feature_without_class_is_undefined_and_a_silent_one_has_p_one(generator):
    donor, label, codes = simulated(generator)
    silent = codes.tolil()
    silent[:, 3] = 0
    scores = donor_scores(silent.tocsr(), label, donor, np.array(["T", None, np.nan, "T", "B"], dtype=object))
    assert scores.loc[[1, 2]].isna().all(axis=None)
    assert scores.loc[3, "p_value"] == 1


@pytest.mark.parametrize("n_donors", [4, 9, 30])
def test_signed_rank_p_values_equal_scipy(generator, n_donors):
    difference = generator.normal(0.3, 1, (n_donors, 7))
    method = "exact" if n_donors <= 12 else "approx"
    expected = [stats.wilcoxon(d, alternative="greater", method=method).pvalue for d in difference.T]
    np.testing.assert_allclose(signed_rank_p_values(difference), expected, rtol=1e-9)


def test_signed_ranks_with_ties_and_zeros_by_hand():
    # Ranks 1.5, 1.5 and 3; of the eight sign patterns +++, +-+ and -++ reach 1.5 + 3.
    np.testing.assert_allclose(signed_rank_p_values(np.array([[1.0], [-1.0], [2.0], [0.0]])), 3 / 8)
    np.testing.assert_array_equal(signed_rank_p_values(np.zeros((4, 2))), 1)


def test_a_number_of_the_donor_is_correlated_over_donors(generator):
    """Six donors and their ages: 720 orders, counted one by one."""
    donor = np.repeat([f"d{n}" for n in range(6)], 10)
    age_of_donor = np.array([20.0, 35, 35, 50, 61, 80])
    of_donor = np.column_stack([age_of_donor, generator.permutation(6), generator.random((6, 2))])
    codes = sparse.csr_matrix(np.repeat(of_donor, 10, axis=0))
    scores = donor_correlations(codes, np.repeat(age_of_donor, 10), donor, np.array([1.0, 1, -1, np.nan]))
    for feature, sign in ((0, 1), (1, 1), (2, -1)):
        observed = stats.spearmanr(of_donor[:, feature], age_of_donor).statistic
        np.testing.assert_allclose(scores.loc[feature, "correlation"], observed, atol=1e-12)
        orders = itertools.permutations(age_of_donor)
        drawn = np.array([stats.pearsonr(stats.rankdata(of_donor[:, feature]), stats.rankdata(o))[0] for o in orders])
        expected = (sign * drawn >= sign * observed - 1e-9).mean()
        np.testing.assert_allclose(scores.loc[feature, "p_value"], expected)
    assert scores.loc[3].isna().all()
    assert (scores.loc[:2, "n_donors"] == 6).all()


def test_over_many_donors_the_p_value_is_that_of_scipy(generator):
    donor, of_donor, age = np.repeat(np.arange(15), 6), generator.random((15, 3)), generator.random(15)
    codes = sparse.csr_matrix(np.repeat(of_donor, 6, axis=0))
    scores = donor_correlations(codes, np.repeat(age, 6), donor, np.ones(3))
    for feature in range(3):
        expected = stats.spearmanr(of_donor[:, feature], age, alternative="greater")
        np.testing.assert_allclose(scores.loc[feature, ["correlation", "p_value"]].astype(float), expected, rtol=1e-9)


def test_a_number_that_differs_within_donors_is_correlated_in_each(generator):
    donor, value = np.repeat([f"d{n}" for n in range(7)], 30), generator.random(210)
    codes = generator.random((210, 3))
    codes[:, 0] = value + 0.2 * generator.random(210)
    scores = donor_correlations(sparse.csr_matrix(codes), value, donor, np.array([1.0, 1, -1]))
    for feature, sign in ((0, 1), (1, 1), (2, -1)):
        own = [stats.spearmanr(codes[donor == d, feature], value[donor == d]).statistic for d in np.unique(donor)]
        np.testing.assert_allclose(scores.loc[feature, "correlation"], np.mean(own), atol=1e-12)
        expected = stats.wilcoxon(sign * np.array(own), alternative="greater").pvalue
        np.testing.assert_allclose(scores.loc[feature, "p_value"], expected)
    assert scores.loc[0, "p_value"] == 1 / 2**7 and scores.loc[0, "consistency"] == 1


def test_donors_of_different_ages_do_not_make_a_feature_of_a_donor_follow_age(generator):
    """Donor effects without any of age: over cells they look like one, over donors they are even."""
    donor, p_values = np.repeat(np.arange(12), 20), []
    for _ in range(40):
        of_donor, age = generator.random((12, 5)), generator.random(12)
        codes = sparse.csr_matrix(np.repeat(of_donor, 20, axis=0) + 0.1 * generator.random((240, 5)))
        p_values.append(donor_correlations(codes, age[donor], donor, np.ones(5))["p_value"])
    assert stats.kstest(np.concatenate(p_values), "uniform").pvalue > 1e-3  # fixed seed


def test_two_donors_give_no_p_value(generator):
    donor = np.repeat(["a", "b"], 20)
    scores = donor_correlations(sparse.csr_matrix(generator.random((40, 2))), generator.random(40), donor, np.ones(2))
    assert scores["p_value"].isna().all() and (scores["n_donors"] == 2).all()


def test_the_false_discovery_rate_is_held_over_donors():
    generator, shares = np.random.default_rng(0), []
    for _ in range(40):
        donor, label, _ = simulated(generator, n_donors=12, per_donor=60)
        codes = generator.normal(10, 1, (len(donor), 100))
        codes[:, :15] += 2 * (label == "T")[:, None]
        q_value = donor_scores(sparse.csr_matrix(codes), label, donor, np.array(["T"] * 100, dtype=object))["q_value"]
        is_found = (q_value < 0.05).to_numpy()
        assert is_found[:15].all()
        shares.append(is_found[15:].sum() / is_found.sum())
    assert 0 < np.mean(shares) <= 0.05 + 3 * np.std(shares) / np.sqrt(40)
