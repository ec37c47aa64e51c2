import anndata
import numpy as np
import pytest
import torch

from biosae.errors import DataError
from biosae.features import encode
from biosae.features.encode import encode_features
from biosae.features.feature_table import read_feature_table


def per_sample(sample, code, n_samples, reduce):
    out = np.zeros((n_samples, code.shape[1]))
    for row in np.unique(sample):
        out[row] = reduce(code[sample == row], axis=0)
    return out


def test_pooled_codes_equal_a_plain_loop(encoded, dense, obs):
    sample, _, _, code = dense
    table = read_feature_table(encoded / "features.h5ad")
    pooled = {name: per_sample(sample, code, len(obs), getattr(np, name)) for name in ("max", "sum", "mean")}
    active = per_sample(sample, code > 0, len(obs), np.mean)
    np.testing.assert_allclose(table.X.toarray(), pooled["max"], rtol=1e-5)  # float32 matrix products, other batches
    np.testing.assert_allclose(table.layers["sum"].toarray(), pooled["sum"], rtol=1e-5)
    np.testing.assert_allclose(table.layers["mean"].toarray(), pooled["mean"], rtol=1e-5)
    np.testing.assert_allclose(table.layers["fraction_active"].toarray(), active, rtol=1e-6)  # float32 storage


def test_the_table_is_described(encoded, dense, obs, provenance):
    sample, _, _, code = dense
    table = anndata.read_h5ad(encoded / "features.h5ad")
    assert list(table.obs_names) == list(obs.index)
    assert list(table.var_names[:2]) == ["f0", "f1"]
    assert table.X.dtype == np.float32
    np.testing.assert_array_equal(table.obs["biosae_n_tokens"], np.bincount(sample, minlength=len(obs)))
    np.testing.assert_allclose(table.var["frequency_token"], (code > 0).mean(0))
    np.testing.assert_allclose(table.var["max_code"], code.max(0), rtol=1e-5)
    assert table.obsm["X_model"].shape == (len(obs), 2)
    assert {**provenance, "format": 1, "pooling": "max"}.items() <= dict(table.uns["biosae"]).items()


def test_codes_of_a_sample_do_not_depend_on_its_batch_mates(encoded, store, sae, obs, vocabulary, provenance, tmp_path):
    together = read_feature_table(encoded / "features.h5ad")
    encode_features(sae, store, obs, vocabulary, tmp_path / "again", provenance, {}, batch_tokens=1)
    alone = read_feature_table(tmp_path / "again" / "features.h5ad")
    np.testing.assert_allclose(together.X.toarray(), alone.X.toarray(), rtol=1e-5)  # rounding of matrix products


def test_finished_shards_are_kept(encoded, store, sae, obs, vocabulary, provenance, monkeypatch):
    (encoded / "token_codes" / "shard-00001.safetensors").unlink()
    before = (encoded / "features.h5ad").read_bytes()
    encoded_shards = []
    original = encode.encode_shard

    def counted(sae, shard, *arguments):
        encoded_shards.append(len(shard))
        return original(sae, shard, *arguments)

    monkeypatch.setattr(encode, "encode_shard", counted)
    (encoded / "features.h5ad").unlink()
    obsm = {"X_model": np.arange(len(obs) * 2.0).reshape(len(obs), 2)}
    encode_features(sae, store, obs, vocabulary, encoded, provenance, obsm, batch_tokens=7)
    assert encoded_shards == [len(store.parts[1])]
    assert len((encoded / "features.h5ad").read_bytes()) == len(before)


def test_another_sae_makes_all_shards_anew(encoded, store, sae, obs, vocabulary, provenance):
    with torch.no_grad():
        sae.W_enc.mul_(2)
    before = read_feature_table(encoded / "features.h5ad").X.toarray()
    encode_features(sae, store, obs, vocabulary, encoded, provenance | {"sae_hash": "c" * 16}, {})
    np.testing.assert_allclose(read_feature_table(encoded / "features.h5ad").X.toarray(), 2 * before, rtol=1e-5)


def test_obs_of_other_samples_is_refused(store, sae, obs, vocabulary, provenance, tmp_path):
    with pytest.raises(DataError, match="obs must have one row for each of the 12 samples, got 11"):
        encode_features(sae, store, obs[1:], vocabulary, tmp_path, provenance, {})
    assert not list(tmp_path.iterdir())


def test_a_feature_may_never_fire(store, sae, obs, vocabulary, provenance, tmp_path):
    with torch.no_grad():
        sae.b_enc[:] = -1e6
    encode_features(sae, store, obs, vocabulary, tmp_path, provenance, {})
    table = read_feature_table(tmp_path / "features.h5ad")
    assert table.X.nnz == 0
    assert (table.var["max_code"] == 0).all()


def test_samples_without_any_token_are_one_clear_line(store, sae, obs, vocabulary, provenance, tmp_path):
    store.parts.clear()
    with pytest.raises(DataError, match="no sample has a token"):
        encode_features(sae, store, obs, vocabulary, tmp_path, provenance, {})
