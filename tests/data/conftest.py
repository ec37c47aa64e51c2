import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse


@pytest.fixture
def adata():
    """40 cells x 12 genes of counts with a label, a donor and a number per cell."""
    generator = np.random.default_rng(0)
    counts = sparse.csr_matrix(generator.poisson(1.0, (40, 12)).astype(np.float32))
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(["B", "T"] * 20),
            "donor": [f"d{n % 5}" for n in range(40)],
            "score": generator.random(40),
        },
        index=[f"cell{n}" for n in range(40)],
    )
    var = pd.DataFrame(index=[f"GENE{n}" for n in range(12)])
    return anndata.AnnData(counts, obs=obs, var=var)


@pytest.fixture
def write(tmp_path):
    """Writes an AnnData and gives its path."""

    def write(adata):
        path = tmp_path / "cells.h5ad"
        adata.write_h5ad(path)
        return path

    return write
