"""PCA and Harmony on planted counts."""

import anndata
import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from biosae.benchmark import count_embeddings as module
from biosae.benchmark.count_embeddings import check_methods, count_embeddings, pca, variable_genes
from biosae.errors import MissingExtraError, SettingError


@pytest.fixture
def counts():
    """Two labels and two batches, each raising genes of its own."""
    generator = np.random.default_rng(0)
    rate = np.full((300, 60), 2.0)
    rate[:150, :10] += 15
    rate[::2, 10:20] += 4
    return anndata.AnnData(sparse.csr_matrix(generator.poisson(rate).astype(np.float32)))


def test_normalised_values_and_variable_genes_by_hand(counts, monkeypatch):
    monkeypatch.setattr(module, "N_GENES", 20)
    chosen, values = variable_genes(counts.X)
    dense = counts.X.toarray()
    expected = np.log1p(1e4 * dense / dense.sum(1, keepdims=True))
    assert chosen.tolist() == sorted(np.argsort(-expected.var(0))[:20].tolist())
    np.testing.assert_allclose(values.toarray(), expected[:, chosen], rtol=1e-5)


def test_pca_is_that_of_the_centred_values(counts):
    _, values = variable_genes(counts.X)
    expected = PCA(50, svd_solver="full").fit_transform(values.toarray().astype(float))
    np.testing.assert_allclose(np.abs(pca(values, 0)[:, :3]), np.abs(expected[:, :3]), rtol=1e-2, atol=1e-2)


def test_harmony_brings_batches_together_and_leaves_labels_apart(counts):
    pytest.importorskip("harmonypy")
    batch = np.where(np.arange(300) % 2 == 0, "p", "q")
    found = count_embeddings(counts, batch, ("pca", "harmony"), seed=0)
    assert found["harmony"].shape == found["pca"].shape

    def gap(embedding, group):
        return np.linalg.norm(embedding[group].mean(0) - embedding[~group].mean(0))

    label = np.arange(300) < 150
    assert gap(found["harmony"], batch == "p") < 0.5 * gap(found["pca"], batch == "p")
    assert gap(found["harmony"], label) > 0.7 * gap(found["pca"], label)


def test_unknown_and_missing_methods_are_refused_before_any_work(monkeypatch):
    with pytest.raises(SettingError, match="takes pca, harmony, scvi, got bbknn"):
        check_methods(("pca", "bbknn"))
    monkeypatch.setitem(__import__("sys").modules, "scvi", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'biosae\[scvi\]'"):
        check_methods(("scvi",))
