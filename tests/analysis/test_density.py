import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.density import density


@pytest.fixture
def table():
    """Three samples of 100,000 tokens and one without; features: dead, rare, normal, dense."""
    n_active = np.array([0, 2, 3000, 60_000])
    largest = sparse.csr_matrix(np.array([[0, 5, 1, 2], [0, 0, 1, 2], [0, 0, 0, 2], [0, 0, 0, 0]], dtype=np.float32))
    summed = sparse.csr_matrix(
        np.array([[0, 6, 750, 10], [0, 0, 750, 10], [0, 0, 0, 10], [0, 0, 0, 0]], dtype=np.float32)
    )
    obs = pd.DataFrame({"biosae_n_tokens": [100_000, 100_000, 100_000, 0]}, index=list("abcd"))
    var = pd.DataFrame(
        {"frequency_token": n_active / 300_000, "max_code": [0.0, 5, 1, 2]}, index=["f0", "f1", "f2", "f3"]
    )
    return anndata.AnnData(largest, obs=obs, var=var, layers={"sum": summed})


def test_density_of_every_kind(table):
    scores = density(table, np.arange(3))
    assert list(scores["kind"]) == ["dead", "rare", "normal", "dense"]
    np.testing.assert_allclose(scores["frequency_token"], [0, 2 / 300_000, 0.01, 0.2])
    np.testing.assert_allclose(scores["frequency_sample"], [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(scores["mean_active"], [np.nan, 3, 0.5, 0.0005])
    np.testing.assert_allclose(scores["max"], [np.nan, 5, 1, 2])
