import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from biosae.analysis.labels.classes import LabelColumn
from biosae.analysis.labels.continuous import continuous_scores, is_continuous, spearman
from biosae.analysis.stats.auroc import SortedCodes, midranks
from biosae.errors import DataError


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def codes_of(generator, n, d, density=0.4):
    return sparse.random(n, d, density, random_state=generator, format="csr")


def test_spearman_equals_scipy(generator):
    codes = codes_of(generator, 70, 6)
    codes.data = np.ceil(codes.data * 4)
    value = generator.integers(0, 10, 70).astype(float)
    expected = [stats.spearmanr(column, value).statistic for column in codes.toarray().T]
    np.testing.assert_allclose(spearman(midranks(SortedCodes.of(codes)), value), expected, atol=1e-12)


def test_constant_sides_are_undefined(generator):
    codes = sparse.csr_matrix((30, 2))
    assert np.isnan(spearman(midranks(SortedCodes.of(codes)), generator.random(30))).all()
    assert np.isnan(spearman(midranks(SortedCodes.of(codes_of(generator, 30, 2))), np.ones(30))).all()


def parts(n):
    return np.array(["select", "test", "train"])[np.arange(n) % 3]


def score(codes, values, part, group=None, n_permutations=100, seed=0):
    label = LabelColumn(pd.Series(values, name="age"), part, None if group is None else pd.Series(group))
    return continuous_scores(codes.tocsr(), label, n_permutations, seed)


def test_planted_features_are_found_in_their_direction(generator):
    value = generator.random(600)
    codes = codes_of(generator, 600, 100).tolil()
    codes[:, 3] = np.maximum(0, value - 0.5 + 0.1 * generator.normal(size=600))[:, None]
    codes[:, 8] = np.maximum(0, 0.5 - value)[:, None]
    scores = score(codes, value, parts(600), n_permutations=200)
    assert set(np.flatnonzero(scores["p_value"] < 0.05)) == {3, 8}
    assert (scores.loc[[3, 8], "q_value"] < 0.01).all() and (scores["q_value"] < 0.05).sum() <= 4
    assert scores.loc[3, "spearman"] > 0.5 and scores.loc[8, "spearman"] < -0.5
    assert (scores.loc[[3, 8], "p_value"] == 1 / 201).all()
    test = parts(600) == "test"
    expected = stats.spearmanr(codes.toarray()[test, 3], value[test]).statistic
    np.testing.assert_allclose(scores.loc[3, "spearman"], expected, atol=1e-12)


def test_p_values_are_uniform_when_the_label_means_nothing(generator):
    p_values = []
    for seed in range(50):
        codes = codes_of(generator, 240, 60)
        found = score(codes, generator.random(240), parts(240), n_permutations=60, seed=seed)
        p_values.append(found["p_single"].to_numpy()[:10])
    assert stats.kstest(np.concatenate(p_values), "uniform").pvalue > 1e-3  # fixed seed


def test_a_batch_effect_is_no_label_effect(generator):
    batch = np.repeat([0, 1], 300)
    value = batch + 0.3 * generator.normal(size=600)
    codes = sparse.csr_matrix(np.maximum(0, generator.normal(2.0 * batch[:, None], 1, (600, 50))))
    free = score(codes, value, parts(600))
    within = score(codes, value, parts(600), batch)
    assert free["p_single"].median() < 0.01
    assert 0.3 < within["p_single"].median() < 0.7


def test_a_number_of_the_donor_is_not_tested_within_donors(generator):
    """Age: shuffled within donors it stays where it is, and thirty donors correlate with anything a little."""
    donor = generator.integers(0, 30, 600)
    age = generator.uniform(20, 80, 30)[donor]
    scores = score(codes_of(generator, 600, 100), age, parts(600), donor.astype(str), n_permutations=50)
    assert scores[["p_value", "p_single", "q_value", "null_spearman"]].isna().all(axis=None)


def test_a_feature_that_turns_round_is_not_significant(generator):
    value = generator.random(600)
    part = parts(600)
    codes = codes_of(generator, 600, 50).tolil()
    codes[:, 3] = np.where(part == "select", value, 1 - value)[:, None]
    scores = score(codes, value, part)
    assert scores.loc[3, "spearman"] < -0.99
    assert scores.loc[3, "p_value"] == 1 and scores.loc[3, "p_single"] > 0.99


def test_small_p_values_are_as_rare_as_they_say_for_rare_and_frequent_features(generator):
    small = np.zeros(2)
    for seed in range(30):
        codes = sparse.hstack([codes_of(generator, 600, 128, density) for density in (0.02, 0.5)], format="csr")
        dose = generator.gamma(1.0, size=600)
        p = score(codes, dose, parts(600), seed=seed)["p_single"].to_numpy()
        small += (p[:128] < 0.005).sum(), (p[128:] < 0.005).sum()
    low, high = stats.binom.ppf([0.0005, 0.9995], 30 * 128, 0.005)
    assert small[0] <= high  # few active samples: few values
    assert low <= small[1] <= high


@pytest.mark.parametrize("values", [np.ones(60), np.full(60, np.nan)])
def test_a_label_without_differences_is_one_clear_line(generator, values):
    with pytest.raises(DataError, match="age has .* in the part select; at least 10 that differ"):
        score(codes_of(generator, 60, 3), values, parts(60))


def test_numbers_with_few_values_are_classes():
    assert is_continuous(pd.Series(np.arange(50.0)))
    assert not is_continuous(pd.Series(np.arange(50) % 4))
    assert not is_continuous(pd.Series(["a", "b"] * 25))
    assert not is_continuous(pd.Series([True, False]))


def test_cluster_numbers_are_classes_and_other_whole_numbers_are_not():
    clusters = np.arange(500) % 25
    assert not is_continuous(pd.Series(clusters))  # counts from 0
    assert not is_continuous(pd.Series(clusters + 1.0))  # from 1, as R writes them
    assert not is_continuous(pd.Series(clusters * 3, name="leiden_res_2"))  # some clusters are not here
    assert is_continuous(pd.Series(clusters + 20, name="age"))
    assert is_continuous(pd.Series(clusters + 0.5, name="leiden_score"))
    assert is_continuous(pd.Series(np.arange(500) % 250, name="cluster_size"))


def test_the_false_discovery_rate_is_held_with_planted_numbers():
    generator, shares = np.random.default_rng(0), []
    for seed in range(60):
        value = generator.random(300)
        codes = codes_of(generator, 300, 100).tolil()
        for feature in range(15):
            codes[:, feature] = (generator.random(300) + value)[:, None]
        found = score(codes, value, parts(300), n_permutations=99, seed=seed)
        is_found = (found["q_value"] < 0.05).to_numpy()
        assert is_found[:15].all()
        shares.append(is_found[15:].sum() / is_found.sum())
    assert 0 < np.mean(shares) <= 0.05 + 3 * np.std(shares) / np.sqrt(60)
