import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.genes import token_sums
from biosae.analysis.genes.token_sums import sum_over_tokens
from biosae.errors import ArtefactError
from biosae.features.token_codes import TokenCodes

from ..conftest import D_SAE, N_GENES, write_token_codes

ALL = np.arange(240)


def in_long_form(tokens):
    """Every non-zero code with its feature, token, sample and value."""
    entries = tokens["codes"].tocoo()
    columns = {name: tokens[name][entries.row] for name in ("sample", "token", "value")}
    return pd.DataFrame(columns | {"feature": entries.col, "code": entries.data.astype(float)})


def sums_of(folder, samples=ALL):
    return sum_over_tokens(TokenCodes(folder / "token_codes"), samples)


def check(sums, tokens):
    long = in_long_form(tokens)
    grouped = long.groupby(["feature", "token"])
    for name, expected in {
        "n_active": grouped["code"].size(),
        "total": grouped["code"].sum(),
        "largest": grouped["code"].max(),
        "n_samples": grouped["sample"].nunique(),
    }.items():
        dense = np.zeros((D_SAE, N_GENES))
        dense[tuple(zip(*expected.index, strict=True))] = expected.to_numpy()
        np.testing.assert_allclose(getattr(sums, name).toarray(), dense, rtol=1e-12)  # double sums
    products = {"squares": long["code"] ** 2, "value_square": long["value"] ** 2}
    per_feature = long.assign(**products, value_code=long["code"] * long["value"]).groupby("feature")
    for name in ("squares", "value", "value_square", "value_code"):
        expected = per_feature[name].sum().reindex(range(D_SAE), fill_value=0)
        np.testing.assert_allclose(getattr(sums, name), expected, rtol=1e-6)  # pandas sums float32 values
    np.testing.assert_array_equal(sums.n_tokens, np.bincount(tokens["token"], minlength=N_GENES))
    value = tokens["value"].astype(float)
    for found, expected in ((sums.value_total, value), (sums.value_squares, value**2)):
        np.testing.assert_allclose(found, np.bincount(tokens["token"], expected, N_GENES), rtol=1e-12)


@pytest.mark.parametrize("n_shards", [1, 3])
@pytest.mark.parametrize("cells_per_block", [1, 100, 1 << 22])
def test_sums_equal_those_of_a_long_table(tmp_path, tokens, n_shards, cells_per_block, monkeypatch):
    monkeypatch.setattr(token_sums, "CELLS_PER_BLOCK", cells_per_block)
    write_token_codes(tmp_path / "token_codes", tokens, n_shards)
    check(sums_of(tmp_path), tokens)


def test_a_sample_that_repeats_a_residue_counts_once(tmp_path, tokens):
    repeated = tokens | {"token": tokens["token"] % 4}
    write_token_codes(tmp_path / "token_codes", repeated)
    sums = sums_of(tmp_path)
    check(sums, repeated)
    assert (sums.n_samples.sum(), sums.n_samples.nnz) < (sums.n_active.sum(), sums.n_active.nnz + 1)


def test_only_the_given_samples_count(tmp_path, tokens):
    write_token_codes(tmp_path / "token_codes", tokens)
    kept = np.flatnonzero(tokens["sample"] % 5 == 1)
    own = {name: tokens[name][kept] for name in ("sample", "token", "value", "codes")}
    check(sums_of(tmp_path, ALL[1::5]), tokens | own)


def test_samples_without_tokens_are_an_error(tmp_path, tokens):
    write_token_codes(tmp_path / "token_codes", tokens)
    with pytest.raises(ArtefactError, match="holds no token of these samples"):
        sums_of(tmp_path, np.array([3]))


def test_nothing_is_dense_in_features_and_genes(tmp_path, tokens):
    write_token_codes(tmp_path / "token_codes", tokens)
    sums = sums_of(tmp_path)
    fields = [getattr(sums, field.name) for field in dataclasses.fields(sums)]
    assert all(sparse.issparse(field) or np.size(field) <= max(D_SAE, N_GENES) for field in fields)
