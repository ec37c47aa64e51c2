import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.metrics import roc_auc_score

from biosae.analysis.stats.auroc import SortedCodes, auroc, midranks


@st.composite
def problems(draw, smallest=0):
    """Codes with many ties, and overlapping classes that may be empty or full."""
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, n_features, n_classes = draw(st.integers(2, 40)), draw(st.integers(1, 8)), draw(st.integers(1, 4))
    codes = generator.integers(smallest, draw(st.integers(1, 6)), (n, n_features)).astype(np.float32)
    return codes, generator.random((n, n_classes)) < generator.random(n_classes)


@settings(deadline=None)
@given(problems(smallest=-2))
def test_ranks_equal_scipy(problem):
    codes, _ = problem
    found = midranks(SortedCodes.of(sparse.csr_matrix(codes)))
    # Sums of a few dozen halves are exact.
    np.testing.assert_array_equal(found.above_zero.toarray() + found.of_zero, stats.rankdata(codes, axis=0))


@settings(deadline=None)
@given(problems(smallest=-2))
def test_auroc_equals_sklearn(problem):
    codes, member = problem
    found = auroc(midranks(SortedCodes.of(sparse.csr_matrix(codes))), member)
    for c, is_member in enumerate(member.T):
        if is_member.all() or not is_member.any():
            assert np.isnan(found[:, c]).all()
        else:
            expected = [roc_auc_score(is_member, column) for column in codes.T]
            np.testing.assert_allclose(found[:, c], expected, rtol=0, atol=1e-12)  # rounding of one division


def test_a_silent_feature_is_no_better_than_chance():
    found = auroc(midranks(SortedCodes.of(sparse.csr_matrix((5, 1)))), np.eye(2, dtype=bool)[[0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(found, [[0.5, 0.5]])
