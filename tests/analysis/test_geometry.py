import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from biosae.analysis import geometry
from biosae.analysis.geometry import (
    N_NEIGHBOURS,
    geometry_scores,
    nearest_features,
    principal_axes,
    read_decoder,
    subspace_energy,
    unit_rows,
)
from biosae.errors import ArtefactError


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [3, 2048])
def test_neighbours_and_clusters_of_a_hand_made_decoder(monkeypatch, block):
    monkeypatch.setattr(geometry, "_BLOCK", block)
    W_dec = unit(np.array([[1.0, 0.0, 0.0], [1.0, 0.1, 0.0], [0.0, 1.0, 0.0], [1.0, 0.2, 0.0], [0.0, 0.0, -1.0]]))
    scores = geometry_scores(W_dec, np.eye(3))
    assert scores.loc[0, "nearest"] == 1 and scores.loc[3, "nearest"] == 1
    np.testing.assert_allclose(scores.loc[0, "nearest_cosine"], 1 / np.sqrt(1.01))
    assert scores["cluster_size"].tolist() == [3, 3, 1, 3, 1]
    assert scores.loc[0, "cluster"] == scores.loc[3, "cluster"] != scores.loc[2, "cluster"]


def test_principal_axes_equal_sklearn():
    embedding = np.random.default_rng(0).normal(size=(40, 6)) * [5, 4, 3, 2, 1, 0.5]
    axes = principal_axes(np.vstack([embedding, np.full((2, 6), np.nan)]), 3)
    expected = PCA(3).fit(embedding).components_
    np.testing.assert_allclose(np.abs((axes * expected).sum(axis=1)), 1, atol=1e-10)


def test_energy_is_the_share_of_the_squared_length():
    W_dec = unit(np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(subspace_energy(W_dec, np.array([[1.0, 0.0, 0.0]])), [0.36, 0.0])
    np.testing.assert_allclose(subspace_energy(W_dec, np.eye(3)), 1)


def test_an_embedding_has_no_more_axes_than_dimensions_of_its_own():
    line = np.outer(np.arange(5.0), [1, 0, 0])
    assert principal_axes(line, 3).shape == (1, 3)


def test_the_decoder_is_read_from_the_weights(tmp_path):
    W_dec = np.eye(4, dtype=np.float32)
    save_file({"W_dec": W_dec}, tmp_path / "sae.safetensors")
    np.testing.assert_array_equal(read_decoder(tmp_path / "sae.safetensors"), W_dec)
    with pytest.raises(ArtefactError, match="the train stage"):
        read_decoder(tmp_path / "nothing.safetensors")


def test_nearest_features_agree_with_sklearn():
    W_dec = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    nearest, cosines = nearest_features(unit_rows(W_dec), 10, 20)
    cosine = cosine_similarity(W_dec)
    np.fill_diagonal(cosine, -np.inf)
    expected = np.argsort(-cosine[10:20], axis=1)[:, :N_NEIGHBOURS]
    assert nearest.tolist() == expected.tolist()
    largest = -np.sort(-cosine[10:20], axis=1)[:, :N_NEIGHBOURS]
    np.testing.assert_allclose(cosines, largest, atol=1e-6)  # float32


def test_fewer_features_than_neighbours():
    nearest, cosines = nearest_features(np.eye(3, dtype=np.float32), 0, 3)
    assert nearest.shape == (3, 2)
    assert cosines.tolist() == [[0, 0]] * 3
