import numpy as np
from scipy import sparse, stats
from sklearn.metrics import roc_auc_score

from biosae.analysis.stats.auroc import SortedCodes
from biosae.analysis.stats.intervals import (
    N_RESAMPLES,
    auroc_intervals,
    resample_weights,
    score_interval,
    weighted_auroc,
)


def silently(amount=1, status=""):
    pass


def test_weighted_auroc_equals_sklearn(generator):
    dense = np.ceil(np.maximum(0, generator.normal(0, 2, (60, 4))))  # ties and zeros
    dense[:, 3] = 0
    is_member = generator.random(60) < 0.4
    weights = resample_weights(None, 60, generator)
    codes = SortedCodes.of(sparse.csr_matrix(dense))
    for feature in range(4):
        expected = [roc_auc_score(is_member, dense[:, feature], sample_weight=w) for w in weights.T]
        found = weighted_auroc(codes, feature, weights * is_member[:, None], weights * ~is_member[:, None])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)  # sums of a few dozen whole numbers


def test_whole_donors_are_drawn_when_there_are_enough(generator):
    donor = np.repeat([f"d{n}" for n in range(6)], 10)
    weights = resample_weights(donor, 60, generator)
    assert all((np.ptp(weights[donor == name], axis=0) == 0).all() for name in np.unique(donor))
    np.testing.assert_array_equal(weights.sum(axis=0), np.full(N_RESAMPLES, 60))


def test_single_samples_are_drawn_when_there_are_few_donors(generator):
    weights = resample_weights(np.repeat(["a", "b"], 30), 60, generator)
    assert np.ptp(weights[:30], axis=0).max() > 0
    np.testing.assert_array_equal(weights.sum(axis=0), np.full(N_RESAMPLES, 60))


def test_the_interval_holds_the_truth_about_as_often_as_it_says(generator):
    # Codes are uniform and shifted for members, so that the true AUROC is 1 - (1 - shift)^2 / 2.
    shift, n_covered = 0.3, 0
    member = (np.arange(120) < 40)[:, None]
    pair = np.array([0])
    for _ in range(300):
        codes = SortedCodes.of(sparse.csr_matrix(generator.random((120, 1)) + shift * member))
        low, high = auroc_intervals(codes, member, pair, pair, resample_weights(None, 120, generator), silently)
        n_covered += (low <= 1 - (1 - shift) ** 2 / 2).item() and (1 - (1 - shift) ** 2 / 2 <= high).item()
    # Percentile intervals are a little short; the standard error of 300 draws at 0.95 is 0.013.
    assert 0.90 < n_covered / 300 < 0.98


def test_resamples_without_one_side_are_left_out(generator):
    member = np.array([[True], [False], [False]])
    codes = SortedCodes.of(sparse.csr_matrix([[1.0], [0.0], [0.0]]))
    low, high = auroc_intervals(
        codes, member, np.array([0]), np.array([0]), resample_weights(None, 3, generator), silently
    )
    # Every resample gives 1; one member against two others allows much less.
    assert high.item() == 1.0 and low.item() < 0.3


def test_three_members_have_a_wide_interval_that_holds_the_truth(generator):
    member, pair, covered = (np.arange(203) < 3)[:, None], np.array([0]), {"resampled": 0, "found": 0}
    truth = stats.norm.cdf(1.5 / np.sqrt(2))
    for _ in range(200):
        codes = SortedCodes.of(sparse.csr_matrix(generator.normal(10 + 1.5 * member)))
        weights = resample_weights(None, 203, generator)
        drawn = weighted_auroc(codes, 0, weights * member, weights * ~member)
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        covered["resampled"] += low <= truth <= high
        low, high = auroc_intervals(codes, member, pair, pair, weights, silently)
        covered["found"] += (low <= truth).item() and (truth <= high).item()
    # The standard error of 200 draws at 0.95 is 0.015; what resampling alone gives is not enough.
    assert covered["resampled"] / 200 < 0.85
    assert covered["found"] / 200 > 0.91


def test_the_score_interval_ends_where_its_equation_holds():
    auroc, n_inside, n_outside = np.array([0.5, 0.8, 0.97]), np.array([3, 12, 40]), np.array([500, 60, 20])
    for end in score_interval(auroc, n_inside, n_outside):
        mean_size = (n_inside + n_outside) / 2
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
        hanley_mcneil = (end * (1 - end) + (mean_size - 1) * (q1 + q2 - 2 * end**2)) / (n_inside * n_outside)
        np.testing.assert_allclose(np.abs(auroc - end), 1.959964 * np.sqrt(hanley_mcneil), rtol=1e-6)  # of 30 halvings
    assert score_interval(1.0, 3, 500)[1] == 1
