"""Parts of a feature table, which are read without the rest."""

import anndata
import numpy as np
import pytest

from biosae.errors import ArtefactError
from biosae.features import stored_rows
from biosae.features.feature_table import MATRICES, feature_blocks, read_feature_table

ROWS = np.array([1, 2, 5, 6, 10])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stored_rows, "ROWS_PER_BLOCK", 4)


@pytest.fixture
def path(encoded):
    return encoded / "features.h5ad"


def values(table, name):
    return (table.X if name == "X" else table.layers[name]).toarray()


def test_chosen_rows_are_those_of_the_whole_table(path):
    whole, part = anndata.read_h5ad(path), read_feature_table(path, rows=ROWS)
    assert list(part.obs_names) == list(whole.obs_names[ROWS])
    for name in MATRICES:
        np.testing.assert_array_equal(values(part, name), values(whole, name)[ROWS])
    for name in whole.obsm:
        np.testing.assert_array_equal(part.obsm[name], np.asarray(whole.obsm[name])[ROWS])


def test_blocks_are_those_of_the_whole_table(path):
    whole, blocks = anndata.read_h5ad(path), list(feature_blocks(path, MATRICES, ROWS))
    assert [block.n_obs for block in blocks] == [2, 2, 1]
    for name in MATRICES:
        np.testing.assert_array_equal(np.vstack([values(block, name) for block in blocks]), values(whole, name)[ROWS])


def test_annotations_alone_hold_no_matrix(path):
    table = read_feature_table(path, content=())
    assert table.X is None and not table.layers and not table.obsm
    assert table.shape == anndata.read_h5ad(path).shape


def test_other_embeddings_are_refused(path):
    table = anndata.read_h5ad(path)
    table.obsm["X_model"] = np.zeros((table.n_obs, 2), np.float32)
    table.write_h5ad(path)
    with pytest.raises(ArtefactError, match="was changed since it was written"):
        read_feature_table(path, content=())
