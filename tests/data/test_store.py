"""Tables as other versions of anndata and pandas write them."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import read_elem, write_elem

from biosae.data.cells import read_cells
from biosae.data.text import is_text, plain_column
from biosae.errors import DataError


@pytest.fixture
def of_0_7(adata, write):
    """A file in the layout of anndata 0.7: codes in the column, the names of the categories elsewhere."""
    path = write(adata)
    with h5py.File(path, "r+") as file:
        codes, names = file["obs/cell_type/codes"][()], file["obs/cell_type/categories"][()]
        del file["obs/cell_type"]
        place = file.create_dataset("obs/__categories/cell_type", data=names, dtype=h5py.string_dtype())
        place.attrs["ordered"] = False
        file.create_dataset("obs/cell_type", data=codes.astype("int8")).attrs["categories"] = place.ref
        file["obs"].attrs["encoding-version"] = "0.1.0"
    return path


def test_categories_of_anndata_0_7_have_their_names(of_0_7, adata):
    assert list(anndata.read_h5ad(of_0_7).obs["cell_type"]) == list(adata.obs["cell_type"])  # it is that layout
    cells = read_cells(of_0_7)
    assert list(cells.obs["cell_type"]) == list(adata.obs["cell_type"])
    assert cells.label_keys == ["cell_type"]
    assert set(read_cells(of_0_7, filter={"cell_type": "B"}).obs["cell_type"]) == {"B"}
    assert (read_cells(of_0_7, n_cells=10, stratify="cell_type").obs["cell_type"] == "B").sum() == 5
    assert read_cells(of_0_7, batch_key="cell_type").batch_key == "cell_type"


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_nullable_columns_are_read_as_plain_ones(adata, tmp_path, suffix):
    adata.obs["kind"] = pd.array(["B", "T"] * 19 + [pd.NA] * 2, dtype="string")
    adata.obs["doublet"] = pd.array([True, False, True] * 13 + [pd.NA], dtype="boolean")
    adata.obs["n"] = pd.array([*range(39), pd.NA], dtype="Int64")
    adata.obs["class"] = pd.Categorical(pd.array(["x", "y"] * 20, dtype="string"))
    path = tmp_path / f"cells.{suffix}"
    adata.strings_to_categoricals = lambda *given: None  # as anndata writes them with pandas 3
    with anndata.settings.override(allow_write_nullable_strings=True):
        adata.write_h5ad(path) if suffix == "h5ad" else adata.write_zarr(path)
    cells = read_cells(path)
    assert {"cell_type", "kind", "doublet", "class"} <= set(cells.label_keys)
    assert list(cells.obs["kind"][:2]) == ["B", "T"] and cells.obs["kind"].isna().sum() == 2
    assert list(cells.obs["doublet"].cat.categories) == ["False", "True"] and cells.obs["doublet"].isna().sum() == 1
    assert cells.obs["n"].dtype == np.float64
    assert len(read_cells(path, filter={"doublet": True}).obs) == 26
    with h5py.File(tmp_path / "again.h5", "w") as file:  # as the table of features is written
        write_elem(file, "obs", cells.obs.set_axis(cells.names, axis=0))
        assert list(read_elem(file["obs"])["kind"][:2]) == ["B", "T"]


def test_text_that_seldom_repeats_and_is_missing_in_one_file_can_be_written(adata, tmp_path):
    adata.obs["comment"] = [f"comment {n}" for n in range(40)]
    adata[:20].write_h5ad(tmp_path / "a.h5ad")
    del adata.obs["comment"]
    adata[20:].write_h5ad(tmp_path / "b.h5ad")
    cells = read_cells([tmp_path / "a.h5ad", tmp_path / "b.h5ad"])
    with h5py.File(tmp_path / "again.h5", "w") as file:
        write_elem(file, "obs", cells.obs.set_axis(cells.names, axis=0))
        assert read_elem(file["obs"])["comment"].isna().sum() == 20


@pytest.mark.parametrize(
    ("column", "text", "dtype"),
    [
        (pd.Series(["a", "b"], dtype="string"), True, object),
        (pd.Series(["a", None], dtype="string"), True, "category"),
        (pd.Series(["a", "b"], dtype=pd.StringDtype("pyarrow", na_value=np.nan)), True, object),  # that of pandas 3
        (pd.Series(["a", None], dtype=pd.StringDtype("pyarrow", na_value=np.nan)), True, "category"),
        (pd.Series(["a", "b"]), True, object),
        (pd.Series(["a", None]), True, "category"),
        (pd.Series([None, None], dtype=object), True, "category"),
        (pd.Series(pd.Categorical(["a", None])), True, "category"),
        (pd.Series(pd.Categorical([True, False])), True, "category"),
        (pd.Series([True, None], dtype="boolean"), False, "category"),
        (pd.Series([True, False], dtype="boolean"), False, bool),
        (pd.Series([1, None], dtype="Int64"), False, np.float64),
        (pd.Series([1, 2], dtype="Int64"), False, np.int64),
        (pd.Series([1, "a"], dtype=object), True, "category"),
        (pd.Series([1.5, 2]), False, np.float64),
    ],
)
def test_text_is_known_in_every_type(column, text, dtype):
    assert is_text(column) == text
    plain = plain_column(column)
    assert plain.dtype == dtype
    assert plain.isna().tolist() == column.isna().tolist()


def odd_maps():
    generator = np.random.default_rng(0)
    two = generator.normal(size=(40, 2)).astype(np.float32)
    missing = two.copy()
    missing[:3] = np.nan
    return {"NaN": missing, "3-D": generator.normal(size=(40, 3)), "1-D": two[:, :1]}


@pytest.mark.parametrize(
    ("kind", "says"),
    [("NaN", "3 of 40 cells have no position"), ("3-D", "40 x 3 values of type"), ("1-D", "40 x 1 values of type")],
)
def test_a_map_that_is_none_is_not_used(adata, write, kind, says):
    adata.obsm["X_umap"] = odd_maps()[kind]
    cells = read_cells(write(adata))
    assert cells.obsm == {}
    assert any('obsm["X_umap"] is not used' in finding and says in finding for finding in cells.findings)


def test_a_map_in_a_table_is_used_and_one_of_the_chosen_cells_is_enough(adata, write):
    positions = odd_maps()["NaN"]
    adata.obsm["X_umap"] = pd.DataFrame(positions, adata.obs_names, ["UMAP_1", "UMAP_2"])
    adata.obs["plate"] = ["one"] * 3 + ["two"] * 37
    cells = read_cells(write(adata), filter={"plate": "two"})
    np.testing.assert_array_equal(cells.obsm["X_umap"], positions[3:])


def test_strings_overwritten_with_zeros_are_refused_and_not_read_for_ever(adata, tmp_path):
    """The HDF5 library loops at an object of number 0 and size 0 in a heap of strings."""
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first : first + 32] = bytes(32)
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged: the strings at byte .* are overwritten with zeros; copy"):
        read_cells(path)
