import numpy as np
import pytest
from scipy import sparse

from biosae.analysis.stats import correlation
from biosae.analysis.stats.correlation import correlations_of_pairs, most_correlated, standardised


@pytest.fixture
def two(generator, monkeypatch):
    monkeypatch.setattr(correlation, "FEATURES_PER_BLOCK", 3)
    monkeypatch.setattr(correlation, "VARIABLES_PER_BLOCK", 4)
    codes = sparse.random(60, 8, 0.5, random_state=generator, format="csc", dtype=np.float32)
    variables = sparse.random(60, 10, 0.6, random_state=generator, format="csc", dtype=np.float32)
    return codes, variables


def test_the_largest_correlations_are_those_of_numpy_in_any_blocks(two):
    codes, variables = two
    r = np.corrcoef(codes.toarray().T, variables.toarray().T)[:8, 8:]
    chosen = most_correlated(codes, variables, 3)
    positive = (r > 0).sum(axis=1)
    for feature, order in enumerate(np.argsort(-r, axis=1)[:, :3]):
        kept = order[: positive[feature]]
        assert chosen[feature, : len(kept)].tolist() == kept.tolist()
    found = correlations_of_pairs(codes, variables, chosen)
    np.testing.assert_allclose(found, np.where(chosen >= 0, np.take_along_axis(r, chosen, 1), np.nan), atol=1e-6)


def test_fewer_variables_than_asked_for_leave_gaps(two):
    codes, variables = two
    chosen = most_correlated(codes, variables[:, :2], 5)
    assert (chosen[:, 2:] == -1).all()
    assert np.isnan(correlations_of_pairs(codes, variables[:, :2], chosen)[:, 2:]).all()


def test_correlation_within_groups_is_that_of_the_residuals(two, generator):
    codes, variables = two
    group = generator.integers(0, 3, 60)
    pairs = np.tile(np.arange(10), (8, 1))
    found = correlations_of_pairs(codes, variables, pairs, group)
    indicator = np.eye(3)[group]
    residual = np.eye(60) - indicator @ np.linalg.inv(indicator.T @ indicator) @ indicator.T
    left = [residual @ m.toarray().astype(float) for m in (codes, variables)]
    expected = np.corrcoef(left[0].T, left[1].T)[:8, 8:]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_constant_column_correlates_with_nothing():
    assert not standardised(np.full((5, 2), 0.3, np.float32)).any()
