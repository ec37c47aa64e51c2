import itertools

import numpy as np
import pytest
from scipy import sparse

from biosae.analysis.stability import chance_cosine, column_correlation, match_features, stability_scores
from biosae.errors import DataError


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_match_is_the_best_of_all_permutations(generator):
    a, b = unit(generator.normal(size=(5, 3))), unit(generator.normal(size=(5, 3)))
    match = match_features(a, b)
    best = max(sum(a[i] @ b[p[i]] for i in range(5)) for p in itertools.permutations(range(5)))
    np.testing.assert_allclose(match.cosine.sum(), best)
    assert sorted(match.partner) == list(range(5))


def test_a_smaller_run_leaves_features_without_partner(generator):
    a = unit(generator.normal(size=(6, 4)))
    match = match_features(a, a[[4, 1]])
    assert match.partner.tolist() == [-1, 1, -1, -1, 0, -1]
    assert np.isnan(match.cosine[[0, 2, 3, 5]]).all()


def test_correlation_equals_numpy(generator):
    a, b = (sparse.random(50, 4, 0.5, random_state=generator, format="csr") for _ in range(2))
    expected = [np.corrcoef(a.toarray()[:, j], b.toarray()[:, j])[0, 1] for j in range(4)]
    np.testing.assert_allclose(column_correlation(a, b), expected, atol=1e-12)


def test_features_that_come_back_are_told_from_those_that_do_not(generator):
    W_dec = unit(generator.normal(size=(30, 64)))
    codes = sparse.random(200, 30, 0.4, random_state=generator, format="csr")
    others = []
    for _ in range(5):
        order = generator.permutation(30)
        other = W_dec.copy()
        other[20:] = unit(generator.normal(size=(10, 64)))  # the last ten are different in every run
        noisy = unit(other + 0.02 * generator.normal(size=other.shape))
        others.append((noisy[order], codes[:, order]))
    scores = stability_scores(W_dec, codes, others)
    assert scores["stable"].tolist() == [True] * 20 + [False] * 10
    assert (scores.loc[:19, "comes_back"] == 1).all() and (scores.loc[:19, "correlation"] > 0.999).all()


def test_the_same_direction_with_other_activity_does_not_come_back(generator):
    W_dec = unit(generator.normal(size=(10, 64)))
    codes, other = (sparse.random(200, 10, 0.4, random_state=generator, format="csr") for _ in range(2))
    scores = stability_scores(W_dec, codes, [(W_dec, other)])
    assert (scores["cosine"] > 0.999).all() and not scores["stable"].any()


def test_chance_is_far_below_a_match(generator):
    W_dec = unit(generator.normal(size=(40, 64)))
    assert chance_cosine(W_dec, W_dec, seed=1) < 0.4 < np.mean(match_features(W_dec, W_dec).cosine)


def test_runs_that_cannot_be_compared_are_refused(generator):
    W_dec = unit(generator.normal(size=(4, 8)))
    with pytest.raises(DataError, match="width 8 and 6"):
        match_features(W_dec, unit(generator.normal(size=(4, 6))))
    with pytest.raises(DataError, match="at least one other run"):
        stability_scores(W_dec, sparse.csr_matrix((3, 4)), [])
    with pytest.raises(DataError, match="3 and 5 samples"):
        stability_scores(W_dec, sparse.csr_matrix((3, 4)), [(W_dec, sparse.csr_matrix((5, 4)))])
