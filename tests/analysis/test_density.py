import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.density import density, density_histogram


@pytest.fixture
def table():
    """Three samples of 100,000 tokens, one without and one to leave out; features: dead, rare, normal, dense."""
    largest = [[0, 5, 1, 2], [0, 0, 1, 2], [0, 0, 0, 2], [0, 0, 0, 0], [9, 9, 9, 9]]
    summed = [[0, 6, 750, 10], [0, 0, 750, 10], [0, 0, 0, 10], [0, 0, 0, 0], [9, 9, 9, 9]]
    n_active = [[0, 2, 1000, 20_000], [0, 0, 2000, 20_000], [0, 0, 0, 20_000], [0, 0, 0, 0], [9, 9, 9, 9]]
    obs = pd.DataFrame({"biosae_n_tokens": [100_000, 100_000, 100_000, 0, 100_000]}, index=list("abcde"))
    layers = {"sum": summed, "fraction_active": np.array(n_active) / 100_000}
    layers = {name: sparse.csr_matrix(np.array(values, dtype=np.float32)) for name, values in layers.items()}
    return anndata.AnnData(sparse.csr_matrix(np.array(largest, dtype=np.float32)), obs=obs, layers=layers)


def test_density_of_every_kind(table):
    scores = density([table[:3]])
    assert list(scores["kind"]) == ["dead", "rare", "normal", "dense"]
    np.testing.assert_allclose(scores["frequency_token"], [0, 2 / 300_000, 0.01, 0.2])
    np.testing.assert_allclose(scores["frequency_sample"], [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(scores["mean_active"], [np.nan, 3, 0.5, 0.0005])
    np.testing.assert_allclose(scores["max"], [np.nan, 5, 1, 2])


def test_the_histogram_counts_every_living_feature_once(table):
    histogram = density_histogram(density([table[:3]]))
    assert histogram["n_by_token"].sum() == 3 and histogram["n_by_sample"].sum() == 3
    in_bin = histogram[(histogram["low"] <= 0.01) & (0.01 < histogram["high"])]
    assert in_bin["n_by_token"].item() == 1
    np.testing.assert_allclose(np.log10(histogram["high"] / histogram["low"]), 0.25, atol=1e-9)
    assert histogram["high"].iloc[-1] == 1


def test_a_histogram_of_dead_features_is_empty(table):
    scores = density([table[:3]]).assign(frequency_token=0.0, frequency_sample=0.0)
    assert density_histogram(scores)[["n_by_token", "n_by_sample"]].to_numpy().sum() == 0
