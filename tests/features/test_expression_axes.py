"""Axes of expression against scikit-learn and numbers by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from biosae.errors import DataError
from biosae.features import expression_axes as module
from biosae.features.expression import log_normalised, write_expression
from biosae.features.expression_axes import expression_axes


def written(path, counts):
    n_genes = counts.shape[1]
    symbols = [f"MT-{n}" if n < 2 else f"G{n}" for n in range(n_genes)]
    genes = pd.DataFrame({"identifier": symbols, "symbol": symbols, "token": -1})
    samples = pd.Index([f"cell {n}" for n in range(len(counts))])
    matrix = log_normalised(sparse.csr_matrix(counts), counts.sum(1))
    write_expression(path, [matrix[:30], matrix[30:]], genes, samples, "0" * 16)
    return matrix.toarray()


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(1.5, size=(80, 12)) + np.eye(80, 12, dtype=int)


def test_genes_components_and_depth_are_those_by_hand(tmp_path, counts, monkeypatch):
    monkeypatch.setattr(module, "MOST_GENES", 6)
    values, train = written(tmp_path / "e.h5ad", counts), np.arange(0, 80, 2)
    axes = expression_axes(tmp_path / "e.h5ad", train, seed=0)
    assert list(axes) == ["expression genes", "expression pca", "expression nmf", "cell depth"]
    chosen = np.sort(np.argsort(-values[train].var(0))[:6])
    assert np.allclose(axes["expression genes"].codes.toarray(), values[:, chosen])
    scores = PCA(5).fit(values[train][:, chosen]).transform(values[:, chosen])
    found = axes["expression pca"].codes.toarray()
    assert np.abs(found[:, :5] - found[:, 5:]) == pytest.approx(np.abs(scores), abs=1e-4)  # float32; signs are free
    detected, share = (counts > 0).sum(1), counts[:, :2].sum(1) / counts.sum(1)
    depth = axes["cell depth"].codes.toarray()
    assert depth[:, 0] == pytest.approx(detected - detected.min())
    assert depth[:, 3] == pytest.approx(share.max() - share, abs=1e-5)  # expm1 of float32
    assert axes["expression genes"].frequency == pytest.approx((values[:, chosen] > 0).mean(0))


def test_genes_that_do_not_vary_are_one_clear_line(tmp_path):
    written(tmp_path / "e.h5ad", np.ones((40, 3), dtype=int))
    with pytest.raises(DataError, match="fewer than two genes vary over the train cells"):
        expression_axes(tmp_path / "e.h5ad", np.arange(20), seed=0)
