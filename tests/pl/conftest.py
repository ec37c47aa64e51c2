import anndata
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy import sparse


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("Agg")
    yield
    plt.close("all")


@pytest.fixture
def adata():
    codes = sparse.csr_matrix(np.array([[0, 1.0, 0], [3.0, 0, 0], [2.0, 0, 0], [0, 0.5, 0]], dtype=np.float32))
    obs = pd.DataFrame({"cell_type": ["T", "B", "B", "T"]}, index=list("abcd"))
    var = pd.DataFrame({"frequency_token": [0.2, 0.01, 0.0]}, index=["f0", "f1", "f2"])
    umap = np.array([[0, 0], [1, 1], [2, 2], [3, 3.0]])
    return anndata.AnnData(codes, obs, var, obsm={"X_umap": umap})


@pytest.fixture
def scores():
    """Feature 1 marks B better than feature 0 on select samples, worse on test samples."""
    columns = {
        "class": ["B", "B", "T"],
        "auroc_select": [0.8, 0.9, 0.7],
        "auroc": [0.95, 0.85, 0.6],
        "auroc_low": [0.9, 0.8, 0.5],
        "auroc_high": [0.99, 0.9, 0.7],
        "null_auroc": [0.65, 0.65, 0.62],
    }
    return pd.concat({"label:cell_type": pd.DataFrame(columns)}, axis=1)
