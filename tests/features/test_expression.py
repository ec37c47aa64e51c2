import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.errors import ArtefactError
from biosae.features.expression import log_normalised, read_expression, write_expression


@pytest.fixture
def counts():
    return sparse.csr_matrix(np.array([[1, 0, 3], [0, 0, 0], [2, 2, 0], [0, 5, 1]], dtype=np.float32))


@pytest.fixture
def genes():
    columns = {"identifier": ["ENSG1", "ENSG2", "x"], "symbol": ["A", "B", "x"], "token": [4, 5, -1]}
    return pd.DataFrame(columns, index=["A", "B", "x"])


def table(n, activations_hash="abc"):
    features = anndata.AnnData(sparse.csr_matrix((n, 1)))
    features.uns["biosae"] = {"activations_hash": activations_hash}
    return features


def test_expression_is_log_of_counts_per_ten_thousand(counts):
    found = log_normalised(counts, np.array([10, 0, 8, 6])).toarray()
    assert found[0].tolist() == pytest.approx([np.log(1001), 0, np.log(3001)])
    assert found[2].tolist() == pytest.approx([np.log(2501), np.log(2501), 0])
    assert not found[1].any()


def test_blocks_come_back_as_one_table(tmp_path, counts, genes):
    path, names = tmp_path / "expression.h5ad", pd.Index(list("abcd"))
    write_expression(path, [counts[:1], counts[1:3], counts[3:]], genes, names, "abc")
    found = read_expression(path, table(4))
    np.testing.assert_array_equal(found.X.toarray(), counts.toarray())
    pd.testing.assert_frame_equal(found.var, genes)
    assert found.obs_names.tolist() == list("abcd")


def test_expression_of_other_cells_is_refused(tmp_path, counts, genes):
    path = tmp_path / "expression.h5ad"
    write_expression(path, [counts], genes, pd.Index(list("abcd")), "abc")
    with pytest.raises(ArtefactError, match="features stage"):
        read_expression(path, table(4, "other"))
    with pytest.raises(ArtefactError, match="4 cells, features.h5ad 5"):
        read_expression(path, table(5))
