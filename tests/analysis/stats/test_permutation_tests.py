import itertools

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.stats import false_discovery_control

from biosae.analysis.stats import permutation_tests
from biosae.analysis.stats.auroc import SortedCodes, auroc, midranks
from biosae.analysis.stats.permutation_tests import benjamini_hochberg, rank_sum_moments, shuffled_null, shuffled_rows


def silently(amount=1, status=""):
    pass


def random_codes(generator, n_samples, n_features, density=0.4):
    return sparse.random(n_samples, n_features, density, random_state=generator, format="csr", dtype=np.float32)


def null_of(codes, member, group, generator, n_permutations):
    return shuffled_null(midranks(SortedCodes.of(codes)), member, group, n_permutations, generator, silently)


def test_samples_stay_in_their_group(generator):
    group = generator.integers(0, 3, 60)
    rows = shuffled_rows(group, 50, generator)
    np.testing.assert_array_equal(group[rows], np.tile(group, (50, 1)))
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(60), (50, 1)))


def test_every_order_is_equally_likely(generator):
    _, counts = np.unique(shuffled_rows(np.zeros(3), 6000, generator), axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3  # one seed in a thousand would fail; the seed is fixed


def test_moments_are_those_of_all_shuffles(generator):
    codes = random_codes(generator, 7, 3, density=0.7)
    ranked, group = midranks(SortedCodes.of(codes)), np.array([0, 0, 0, 0, 1, 1, 1])
    member = np.array([1, 0, 1, 0, 0, 0, 1], dtype=bool)[:, None]
    orders = [(*a, *b) for a in itertools.permutations(range(4)) for b in itertools.permutations(range(4, 7))]
    sums = np.array([(ranked.above_zero.T @ member[list(order)].astype(float))[:, 0] for order in orders])
    mean, deviation = rank_sum_moments(ranked, member, group)
    np.testing.assert_allclose(mean[:, 0], sums.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(deviation[:, 0], sums.std(axis=0), atol=1e-12)


def test_blocks_of_permutations_change_nothing(generator, monkeypatch):
    codes = random_codes(generator, 50, 7)
    member, group = generator.random((50, 2)) < 0.4, generator.integers(0, 2, 50)
    whole = null_of(codes, member, group, np.random.default_rng(1), 20)
    monkeypatch.setattr(permutation_tests, "LABELS_PER_BLOCK", 3 * member.size)
    monkeypatch.setattr(permutation_tests, "RANKS_PER_BLOCK", 2 * len(member))
    in_blocks = null_of(codes, member, group, np.random.default_rng(1), 20)
    np.testing.assert_allclose(in_blocks.largest_auroc, whole.largest_auroc, atol=1e-6)  # float32 sums
    np.testing.assert_allclose(in_blocks.p_single, whole.p_single, rtol=1e-12)


def test_every_feature_is_in_one_pool_with_others_of_like_activity(generator):
    codes = random_codes(generator, 40, 200).multiply(generator.random(200) < 0.5).tocsr()
    pools = permutation_tests.pools_of_like_activity(midranks(SortedCodes.of(codes)))
    assert [len(pool) for pool in pools] == [67, 67, 66]
    n_active = (codes.toarray() > 0).sum(axis=0)[np.concatenate(pools)]
    assert (np.diff(n_active) >= 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate(pools)), np.arange(200))


def test_p_values_are_uniform_when_labels_mean_nothing(generator):
    p_single, p_best, p_by_chance = [], [], []
    for _ in range(60):
        codes = random_codes(generator, 150, 70)
        member = generator.random((150, 1)) < 0.2
        null = null_of(codes, member, np.zeros(150), generator, 99)
        best = auroc(midranks(SortedCodes.of(codes)), member).max(axis=0)
        p_single.append(generator.choice(null.p_single[:, 0], 5, replace=False))
        p_best.append(null.p_best(best, np.array([0])))
        p_by_chance.append(generator.choice(null.p_by_chance[:, 0], 5, replace=False))
    # One seed in a thousand would fail; the seed is fixed.
    assert stats.kstest(np.concatenate(p_single), "uniform").pvalue > 1e-3
    assert stats.kstest(np.concatenate(p_best), "uniform").pvalue > 1e-3
    assert stats.kstest(np.concatenate(p_by_chance), "uniform").pvalue > 1e-3


def test_small_p_values_are_as_rare_as_they_say_for_rare_and_frequent_features():
    generator = np.random.default_rng(1)
    small = np.zeros(2)
    for _ in range(40):
        codes = sparse.hstack([random_codes(generator, 200, 128, density) for density in (0.02, 0.5)], format="csr")
        p = null_of(codes, np.arange(200)[:, None] < 10, np.zeros(200), generator, 99).p_single[:, 0]
        small += (p[:128] < 0.005).sum(), (p[128:] < 0.005).sum()
    n_tests = 40 * 128
    low, high = stats.binom.ppf([0.0005, 0.9995], n_tests, 0.005)
    # A rank sum of four active samples takes few values, so that rare features may have fewer.
    assert small[0] <= high
    assert low <= small[1] <= high


def test_a_batch_effect_is_no_class_effect(generator):
    batch = np.repeat([0, 1], 150)
    member = (generator.random(300) < np.where(batch, 0.6, 0.1))[:, None]
    codes = sparse.csr_matrix(np.maximum(0, generator.normal(2.0 * batch[:, None], 1, (300, 64))).astype(np.float32))
    ranked = midranks(SortedCodes.of(codes))
    reached = auroc(ranked, member).max(axis=0)
    assert null_of(codes, member, np.zeros(300), generator, 99).p_best(reached, np.array([0])) <= 0.01
    assert null_of(codes, member, batch, generator, 99).p_best(reached, np.array([0])) > 0.05


def test_what_shuffling_cannot_change_is_undefined(generator):
    codes = random_codes(generator, 20, 3).tolil()
    codes[:, 1] = 0
    group = np.repeat([0, 1], 10)
    null = null_of(codes.tocsr(), np.column_stack([group == 0, np.arange(20) % 2 == 0]), group, generator, 9)
    assert np.isnan(null.p_single[:, 0]).all()  # the class is the group
    assert np.isnan(null.p_single[1]).all()  # the feature never fires
    assert np.isfinite(null.p_single[[0, 2], 1]).all()


def test_the_best_feature_is_compared_with_the_best_by_chance(generator):
    codes = random_codes(generator, 40, 5)
    null = null_of(codes, np.arange(40)[:, None] < 12, np.zeros(40), generator, 99)
    largest = np.sort(null.largest_auroc[:, 0])
    np.testing.assert_allclose(null.p_best(np.array([1.0, largest[-1], 0.0]), np.zeros(3, int)), [0.01, 0.02, 1.0])
    assert null.expected_best() == pytest.approx(np.percentile(largest, 95))


def test_q_values_equal_scipy(generator):
    p = generator.random((10, 5)) ** 2
    # The same products and divisions, in another order.
    np.testing.assert_allclose(
        benjamini_hochberg(p), false_discovery_control(p, axis=None).reshape(p.shape), rtol=1e-14
    )


def test_an_undefined_p_value_is_no_test(generator):
    p = generator.random(50) ** 2
    found = benjamini_hochberg(np.insert(p, [0, 20, 50], np.nan))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found)), [0, 21, 52])
    np.testing.assert_allclose(found[~np.isnan(found)], benjamini_hochberg(p), rtol=0)
    assert np.isnan(benjamini_hochberg(np.array([np.nan]))).all()
