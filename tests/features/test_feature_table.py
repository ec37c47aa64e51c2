import anndata
import numpy as np
import pytest

from biosae.errors import ArtefactError
from biosae.features.feature_table import read_feature_table


def test_a_missing_table_names_the_command(tmp_path):
    with pytest.raises(ArtefactError, match="make it with the features stage"):
        read_feature_table(tmp_path / "features.h5ad")


def test_another_h5ad_is_refused(tmp_path):
    path = tmp_path / "features.h5ad"
    anndata.AnnData(np.ones((2, 3))).write_h5ad(path)
    with pytest.raises(ArtefactError, match="not a file of biosae"):
        read_feature_table(path)


def test_a_damaged_table_is_refused(tmp_path):
    path = tmp_path / "features.h5ad"
    path.write_bytes(b"not HDF5")
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_feature_table(path)


def test_a_table_without_a_split_is_refused(encoded):
    path = encoded / "features.h5ad"
    table = anndata.read_h5ad(path)
    del table.obs["biosae_part"]
    table.write_h5ad(path)
    with pytest.raises(ArtefactError, match="lacks biosae_part"):
        read_feature_table(path)


def test_scanpy_opens_it_as_it_is(encoded, obs):
    scanpy = pytest.importorskip("scanpy")
    table = scanpy.read_h5ad(encoded / "features.h5ad")
    assert list(table.obs_names) == list(obs.index)
    scanpy.pp.pca(table, n_comps=3)
    assert table.obsm["X_pca"].shape == (len(obs), 3)
    scanpy.pp.log1p(table, layer="sum")
    np.testing.assert_allclose(
        np.expm1(table.layers["sum"].toarray()),
        read_feature_table(encoded / "features.h5ad").layers["sum"].toarray(),
        rtol=1e-5,
    )
