import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import adjusted_mutual_info_score, average_precision_score, f1_score

from biosae.analysis.stats.auroc import SortedCodes
from biosae.analysis.stats.thresholds import (
    adjusted_mutual_information,
    average_precision,
    best_thresholds,
    counts_above,
    f1,
)

from .test_auroc import problems


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


def table(on, member):
    return (on & member).sum(), on.sum(), member.sum(), len(on)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60))
def test_ami_equals_sklearn(seed, n):
    generator = np.random.default_rng(seed)
    on, member = generator.random((2, n)) < generator.random((2, 1))
    found = adjusted_mutual_information(*table(on, member))
    # scikit-learn sums logarithms of factorials in another order, which leaves about 1e-9.
    np.testing.assert_allclose(found, adjusted_mutual_info_score(member, on), rtol=0, atol=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_ami_equals_sklearn_on_many_samples(share, generator):
    member = generator.random(3000) < 0.05
    on = generator.random(3000) < np.where(member, 0.5, share)
    found = adjusted_mutual_information(*table(on, member))
    np.testing.assert_allclose(found, adjusted_mutual_info_score(member, on), rtol=0, atol=1e-6)


def test_tables_are_scored_together_as_apart(generator):
    n_above, n_members = generator.integers(0, 50, (6, 1)), generator.integers(0, 50, (1, 4))
    n_hits = np.maximum(n_above + n_members - 50, 0) + 0
    together = adjusted_mutual_information(n_hits, n_above, n_members, 50)
    for i in range(6):
        for j in range(4):
            apart = adjusted_mutual_information(n_hits[i, j], n_above[i, 0], n_members[0, j], 50)
            np.testing.assert_allclose(together[i, j], apart, rtol=0, atol=1e-12)
