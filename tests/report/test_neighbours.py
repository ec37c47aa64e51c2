import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from biosae.report.neighbours import N_NEIGHBOURS, nearest_features, unit_rows


def test_agrees_with_sklearn():
    W_dec = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    found = nearest_features(unit_rows(W_dec), 10, 20)
    cosine = cosine_similarity(W_dec)
    np.fill_diagonal(cosine, -np.inf)
    expected = np.argsort(-cosine[10:20], axis=1)[:, :N_NEIGHBOURS]
    assert found["feature"].values.reshape(10, -1).tolist() == expected.tolist()
    largest = -np.sort(-cosine[10:20], axis=1)[:, :N_NEIGHBOURS]
    np.testing.assert_allclose(found["cosine"].values.reshape(10, -1), largest, atol=1e-6)  # float32


def test_fewer_features_than_neighbours():
    found = nearest_features(np.eye(3, dtype=np.float32), 0, 3)
    assert found["n"] == 2
    assert found["cosine"].values.tolist() == [0] * 6
