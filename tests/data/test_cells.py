import numpy as np
import pytest

from biosae.data.cells import read_cells
from biosae.errors import DataError, SettingError


def test_finds_counts_labels_and_donor_without_being_told(adata, write):
    cells = read_cells(write(adata))
    assert cells.label_keys == ["cell_type"]  # donor has 5 values for 40 cells: fewer than ten cells each
    assert cells.batch_key == "donor"
    assert (cells.adata.X != adata.X).nnz == 0
    np.testing.assert_array_equal(cells.adata.obs["n_counts"], np.asarray(adata.X.sum(1)).ravel())
    assert list(cells.adata.var["symbol"]) == list(adata.var_names)


def test_takes_the_counts_layer_when_x_is_log_transformed(adata, write):
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    cells = read_cells(write(adata))
    assert (cells.adata.X != adata.layers["counts"]).nnz == 0
    assert 'layers["counts"]' in cells.findings[0]


def test_drawn_cells_are_seeded_and_in_file_order(adata, write):
    path = write(adata)
    drawn = [read_cells(path, n_cells=10, seed=seed).adata.obs_names.tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == [name for name in adata.obs_names if name in set(drawn[0])]


def test_highly_variable_genes_leave_the_library_size_alone(adata, write):
    path = write(adata)
    cells = read_cells(path, subset_hvg=5)
    assert cells.adata.n_vars == 5
    np.testing.assert_array_equal(cells.adata.obs["n_counts"], read_cells(path).adata.obs["n_counts"])


def broken(adata, how):
    if how == "log":
        adata.X = adata.X.log1p()
    elif how == "nan":
        adata.X.data[0] = np.nan
    elif how == "negative":
        adata.X.data[0] = -1
    elif how == "cells twice":
        adata.obs_names = ["same"] * adata.n_obs
    elif how == "genes twice":
        adata.var_names = ["same", "same", *adata.var_names[2:]]
    elif how == "mouse":
        adata.var_names = [f"ENSMUSG{n:011d}" for n in range(adata.n_vars)]
    elif how == "empty":
        adata = adata[:0].copy()
    return adata


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("log", "log-transformed values .* data.counts_layer="),
        ("nan", "NaN or infinite"),
        ("negative", "negative values"),
        ("cells twice", "39 cell ids occur more than once .*obs_names_make_unique"),
        ("genes twice", "1 gene names in var_names occur more than once .*data.gene_column"),
        ("mouse", "not human"),
        ("empty", "0 cells x 12 genes"),
    ],
)
def test_bad_files_are_refused_with_the_reason(adata, tmp_path, how, says):
    path = tmp_path / "bad.h5ad"
    bad = broken(adata, how)
    with pytest.warns(UserWarning) if how.endswith("twice") else _nothing():
        bad.write_h5ad(path)
        with pytest.raises(DataError, match=says):
            read_cells(path)


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_cells(tmp_path / "absent.h5ad")
    (tmp_path / "damaged.h5ad").write_bytes(b"not hdf5")
    with pytest.raises(DataError, match="cannot be read as .h5ad"):
        read_cells(tmp_path / "damaged.h5ad")


def test_unknown_columns_are_named_with_those_that_exist(adata, write):
    path = write(adata)
    with pytest.raises(DataError, match="no column nope; it has cell_type, donor, score"):
        read_cells(path, label_keys=["nope"])
    with pytest.raises(DataError, match="data.batch_key"):
        read_cells(path, batch_key="nope")
    with pytest.raises(DataError, match="data.counts_layer=nope does not exist; this file has no layers"):
        read_cells(path, counts_layer="nope")
    with pytest.raises(DataError, match="data.gene_column=nope does not exist"):
        read_cells(path, gene_column="nope")


def test_cells_beyond_the_file_are_refused(adata, write):
    with pytest.raises(SettingError, match="between 1 and the 40 cells"):
        read_cells(write(adata), n_cells=41)


def test_the_embedded_cells_can_be_read():
    from biosae.commands.inputs import data_path

    cells = read_cells(data_path(None))
    assert cells.adata.shape == (2638, 13656)
    assert cells.label_keys == ["cell_type", "cell_type_coarse"]
    assert (cells.adata.var["ensembl_id"] != "").all()
