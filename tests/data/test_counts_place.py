"""The matrix that holds raw counts, and the names of its own genes."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.data import cell_file
from biosae.data.cells import read_cells
from biosae.errors import DataError


def test_raw_is_read_with_its_own_names_whatever_their_order(adata, write):
    counts = adata.to_df()
    adata.raw = adata[:, ::-1].copy()
    adata.X = adata.X.log1p()
    cells = read_cells(write(adata))
    assert list(cells.vars[0].index) == list(adata.var_names[::-1])
    np.testing.assert_array_equal(cells.adata.to_df()[counts.columns].to_numpy(), counts.to_numpy())


def test_raw_of_other_genes_is_not_labelled_with_those_of_x(adata, write):
    whole = adata.copy()
    other = adata.copy()
    other.var_names = [f"OTHER{n}" for n in range(12)]  # as many, but others
    adata.raw = other
    adata.X = adata.X.log1p()
    cells = read_cells(write(adata))
    assert list(cells.vars[0].index) == [f"OTHER{n}" for n in range(12)]
    np.testing.assert_array_equal(cells.adata.X.toarray(), whole.X.toarray())


def test_columns_of_var_are_known_for_the_genes_that_raw_shares(adata, write):
    adata.var["gene_ids"] = [f"ENSG{n:011d}" for n in range(12)]
    adata.raw = anndata.AnnData(adata.X, obs=adata.obs, var=pd.DataFrame(index=adata.var_names))
    few = adata[:, :5].copy()
    cells = read_cells(write(few))
    assert list(cells.vars[0]["ensembl_id"]) == [f"ENSG{n:011d}" for n in range(5)] + [""] * 7


def test_counts_of_more_genes_are_the_default_and_the_fewer_can_be_named(adata, write):
    few = adata[:, [1, 3, 5]].copy()
    few.raw = adata.copy()
    path = write(few)
    cells = read_cells(path)
    np.testing.assert_array_equal(cells.obs["n_counts"], adata.X.sum(1).A1)
    assert "raw counts from raw" in cells.findings[0]
    assert cells.findings[1].startswith("X has counts of 3 genes, raw of 12, which are used (name X as counts_layer")
    np.testing.assert_array_equal(read_cells(path, counts_layer="X").obs["n_counts"], few.X.sum(1).A1)
    assert len(read_cells(path, counts_layer="raw").var) == 12


def test_raw_of_the_genes_of_x_leaves_x_the_default(adata, write):
    adata.raw = adata.copy()
    assert read_cells(write(adata)).findings[0].endswith("raw counts from X")


def test_raw_without_names_or_of_another_shape_is_not_read(adata, write):
    adata.raw = adata.copy()
    adata.X = adata.X.log1p()
    path = write(adata)
    with h5py.File(path, "r+") as file:
        del file["raw/var"]
    with pytest.raises(
        DataError, match=r"raw holds a matrix of shape \(40, 12\) where 40 cells and 0 genes have names"
    ):
        read_cells(path)


@pytest.mark.parametrize("kind", ["csr", "dense"])
def test_empty_droplets_that_come_first_decide_nothing(adata, write, monkeypatch, kind):
    monkeypatch.setattr(cell_file, "BLOCK_CELLS", 5)
    counts = adata.X.toarray()
    counts[:12] = 0
    adata.X = sparse.csr_matrix(counts) if kind == "csr" else counts
    cells = read_cells(write(adata))
    np.testing.assert_array_equal(cells.adata.X.toarray(), counts)
    n_empty = int((counts.sum(1) == 0).sum())
    assert f"{n_empty} of 40 cells have no count (empty droplets?)" in cells.findings
    adata.X = adata.X * 0
    with pytest.raises(DataError, match="X holds no value but zero"):
        read_cells(write(adata))


def test_the_chosen_cells_decide_where_counts_are(adata, write):
    adata.layers["counts"] = adata.X.copy()
    adata.layers["counts"][:20] = 0.5
    adata.layers["counts"] = sparse.csr_matrix(adata.layers["counts"])
    adata.obs["plate"] = ["one"] * 20 + ["two"] * 20
    assert 'layers["counts"]' in read_cells(write(adata), filter={"plate": "two"}).findings[0]
    assert "raw counts from X" in read_cells(write(adata), filter={"plate": "one"}).findings[0]


def test_counts_with_rounding_errors_are_rounded_and_said(adata, write):
    exact = adata.X.toarray()
    adata.X = sparse.csr_matrix(adata.X * np.float32(1.00001))
    cells = read_cells(write(adata))
    np.testing.assert_array_equal(cells.adata.X.toarray(), exact)
    assert any("counts with rounding errors (up to " in finding for finding in cells.findings)
