import anndata
import h5py
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


def test_columns_may_be_added_but_parts_and_names_may_not_change(encoded):
    path = encoded / "features.h5ad"
    table = anndata.read_h5ad(path)
    table.obs["mine"] = "a"
    table.write_h5ad(path)
    assert list(read_feature_table(path).obs["mine"].unique()) == ["a"]
    table.obs["biosae_part"] = table.obs["biosae_part"].to_numpy()[::-1]
    table.write_h5ad(path)
    with pytest.raises(ArtefactError, match="features.h5ad was changed since it was written"):
        read_feature_table(path)


def test_damaged_attributes_are_one_line(encoded):
    path = encoded / "features.h5ad"
    with h5py.File(path, "a") as file:
        file["obs"].attrs["column-order"] = 3
    with pytest.raises(ArtefactError, match="features.h5ad cannot be read") as caught:
        read_feature_table(path)
    assert "\n" not in str(caught.value)


def test_a_newer_format_is_refused_with_what_to_install(encoded):
    path = encoded / "features.h5ad"
    with h5py.File(path, "a") as file:
        file["uns/biosae/format"][()] = 99
    with pytest.raises(ArtefactError, match="newer biosae .format 99, this one reads up to 1.: pip install -U biosae"):
        read_feature_table(path)
