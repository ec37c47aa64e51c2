import numpy as np
from hypothesis import given, settings
from scipy import sparse
from sklearn.metrics import average_precision_score, f1_score

from biosae.analysis.stats.sorted_codes import SortedCodes
from biosae.analysis.stats.thresholds import average_precision, best_thresholds, counts_above, f1

from .test_midranks import problems


@settings(deadline=None)
@given(problems())
def test_average_precision_equals_sklearn(problem):
    codes, member = problem
    found = average_precision(SortedCodes.of(sparse.csr_matrix(codes)), member)
    for c, is_member in enumerate(member.T):
        if is_member.any():
            expected = [average_precision_score(is_member, column) for column in codes.T]
            np.testing.assert_allclose(found[:, c], expected, rtol=0, atol=1e-12)  # sums of a few dozen ratios
        else:
            assert np.isnan(found[:, c]).all()


@settings(deadline=None, max_examples=30)
@given(problems())
def test_f1_at_the_chosen_threshold_is_the_best_and_equals_sklearn(problem):
    codes, member = problem
    in_order = SortedCodes.of(sparse.csr_matrix(codes))
    thresholds = best_thresholds(in_order, member)
    found = f1(*counts_above(in_order, member, thresholds), member.sum(axis=0))
    for c, is_member in enumerate(member.T):
        for feature, column in enumerate(codes.T):
            candidates = np.unique(column[column > 0])
            scores = [f1_score(is_member, column >= t, zero_division=0) for t in candidates]
            if len(candidates) == 0:
                assert np.isnan(thresholds[feature, c]) and found[feature, c] == 0
            else:
                np.testing.assert_allclose(found[feature, c], max(scores), rtol=0, atol=1e-12)
                chosen = f1_score(is_member, column >= thresholds[feature, c], zero_division=0)
                np.testing.assert_allclose(chosen, max(scores), rtol=0, atol=1e-12)


def test_thresholds_of_other_samples_are_applied_to_these():
    codes = SortedCodes.of(sparse.csr_matrix(np.array([[0.0], [1.0], [2.0], [3.0]])))
    member = np.array([[False], [True], [False], [True]])
    n_above, n_hits = counts_above(codes, member, np.array([[2.0]]))
    assert (n_above.item(), n_hits.item()) == (2, 1)
    assert f1(n_above, n_hits, member.sum(axis=0)).item() == 2 * 1 / (2 + 2)
