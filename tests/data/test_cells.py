import gzip

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.data import cell_file
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


def test_highly_variable_genes_may_share_symbols_where_ids_tell_them_apart(adata, write):
    adata.var["gene_ids"] = [f"ENSG{n:011d}" for n in range(12)]
    adata.var_names = ["TBCE", "TBCE", *adata.var_names[2:]]
    path = write(adata)
    assert len(read_cells(path).var) == 12
    cells = read_cells(path, subset_hvg=11)
    assert cells.adata.n_vars == 11
    kept = cells.var["ensembl_id"].str[-2:].astype(int)
    np.testing.assert_array_equal(cells.adata.X.toarray(), adata.X.toarray()[:, kept])


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
        ("log", "log-transformed values .* as counts_layer"),
        ("nan", "NaN or infinite"),
        ("negative", "negative values"),
        ("cells twice", "39 cell ids of .* occur more than once .*obs_names_make_unique"),
        ("genes twice", "1 gene names in var_names occur more than once .* as gene_column"),
        ("mouse", "not human"),
        ("empty", "0 cells x 12 genes"),
    ],
)
def test_bad_files_are_refused_with_the_reason(adata, tmp_path, how, says):
    path = tmp_path / "bad.h5ad"
    bad = broken(adata, how)
    bad.write_h5ad(path)
    with pytest.raises(DataError, match=says):
        read_cells(path)


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_cells(tmp_path / "absent.h5ad")
    (tmp_path / "damaged.h5ad").write_bytes(b"not hdf5")
    with pytest.raises(DataError, match="cannot be read as .h5ad"):
        read_cells(tmp_path / "damaged.h5ad")


def test_counts_that_are_elsewhere_are_told_with_the_file(adata, write):
    whole = adata.copy()
    adata.X = adata.X.log1p()
    few = adata[:, :5].copy()
    few.raw = whole
    cells = read_cells(write(few))
    assert list(cells.vars[0].index) == list(whole.var_names)  # raw has its own genes
    np.testing.assert_array_equal(cells.adata.X.toarray(), whole.X.toarray())
    adata.X = None
    with pytest.raises(DataError, match=r"there is no X; .*as counts_layer"):
        read_cells(write(adata))


def written_before_0_7(path, adata):
    """As anndata 0.6 did: tables are compound data sets, which today's anndata still reads."""
    with h5py.File(path, "w") as file:
        file["X"] = adata.X.toarray()
        for name, names in (("obs", adata.obs_names), ("var", adata.var_names)):
            file[name] = np.array([(text.encode(),) for text in names], dtype=[("index", "S20")])


def test_other_formats_are_told_apart_with_what_to_do(adata, write, tmp_path):
    packed = tmp_path / "cells.h5ad.gz"
    packed.write_bytes(gzip.compress(write(adata).read_bytes()))
    table = tmp_path / "counts.csv"
    adata.to_df().to_csv(table)
    tenx = tmp_path / "filtered_feature_bc_matrix.h5"
    with h5py.File(tenx, "w") as file:
        file["matrix/barcodes"] = np.arange(3)
        file.update({f"protein{n}": np.ones(3) for n in range(9)})
    old = tmp_path / "old.h5ad"
    written_before_0_7(old, adata)
    says = {
        packed: "gunzip",
        table: "not an HDF5 file; .*scanpy",
        tenx: "no obs but matrix, protein0, protein1; .*read_10x_h5",
        old: "before 0.7",
    }
    for path, what in says.items():
        with pytest.raises(DataError, match=f"{path.name} .*{what}"):
            read_cells(path)
    anndata.read_h5ad(old).write_h5ad(old)  # as the message says
    assert (read_cells(old).adata.X != adata.X).nnz == 0


def test_unknown_columns_are_named_with_those_that_exist(adata, write):
    path = write(adata)
    with pytest.raises(DataError, match="no column nope; it has cell_type, donor, score"):
        read_cells(path, label_keys=["nope"])
    with pytest.raises(DataError, match="^batch_key: "):
        read_cells(path, batch_key="nope")
    with pytest.raises(DataError, match=": counts_layer nope does not exist; this file has X"):
        read_cells(path, counts_layer="nope")
    with pytest.raises(DataError, match="^gene_column nope does not exist"):
        read_cells(path, gene_column="nope")


def test_cells_beyond_the_file_are_refused(adata, write):
    with pytest.raises(SettingError, match="between 1 and the 40 cells"):
        read_cells(write(adata), n_cells=41)


def test_the_embedded_cells_can_be_read():
    from biosae.data.files import data_paths

    cells = read_cells(data_paths(None)[0])
    assert cells.adata.shape == (2638, 13656)
    assert cells.label_keys == ["cell_type", "cell_type_coarse"]
    assert (cells.adata.var["ensembl_id"] != "").all()


@pytest.fixture
def parts(adata, tmp_path):
    """The cells in three files: with other genes, another order of genes, or the cell names of the first."""
    pieces = [adata[:15].copy(), adata[15:30, ::-1].copy(), adata[30:, 2:].copy()]
    pieces[2].obs_names = adata.obs_names[:10]
    for name, piece in zip("abc", pieces, strict=True):
        piece.write_h5ad(tmp_path / f"{name}.h5ad")
    return [tmp_path / f"{name}.h5ad" for name in "abc"]


def test_many_files_are_one_data_set(parts, adata):
    cells = read_cells(parts)
    counts = adata.X.toarray()
    counts[30:, :2] = 0  # genes that the third file lacks
    np.testing.assert_array_equal(cells.adata[:, adata.var_names].X.toarray(), counts)
    assert list(cells.obs["cell_type"]) == list(adata.obs["cell_type"])
    assert list(cells.obs["file"]) == ["a"] * 15 + ["b"] * 15 + ["c"] * 10
    assert list(cells.obs["n_counts"]) == list(counts.sum(1))
    assert (cells.label_keys, cells.batch_key) == (["cell_type"], "donor")
    assert "3 files: 40 cells x 12 genes" in cells.findings[0]


def test_cell_names_that_two_files_share_get_the_name_of_the_file(parts):
    names = list(read_cells(parts).names)
    assert len(set(names)) == 40
    assert names[:2] + names[10:12] + names[30:32] == ["cell0-a", "cell1-a", "cell10", "cell11", "cell0-c", "cell1-c"]


def test_names_that_are_no_plain_text_are_read_too(adata, tmp_path):
    adata.obs_names = [str(n) for n in range(40)]
    adata.obs.index = adata.obs.index.astype("string")  # written as a group, for names that may be missing
    with anndata.settings.override(allow_write_nullable_strings=True):
        adata.write_h5ad(tmp_path / "cells.h5ad")
    assert list(read_cells(tmp_path / "cells.h5ad").names) == [str(n) for n in range(40)]


def test_names_that_the_file_name_does_not_tell_apart_are_refused(parts, adata):
    other = adata[:1].copy()
    other.obs_names = ["cell0-a"]
    other.write_h5ad(parts[0].with_name("d.h5ad"))
    with pytest.raises(DataError, match="are not unique .*, such as cell0-a"):
        read_cells([*parts, parts[0].with_name("d.h5ad")])


def test_files_of_one_name_are_told_apart_by_their_folder(adata, tmp_path):
    paths = [tmp_path / name / "cells.h5ad" for name in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        adata.write_h5ad(path)
    assert set(read_cells(paths).obs["file"]) == {"one/cells", "two/cells"}
    with pytest.raises(DataError, match="more than once"):
        read_cells([paths[0], paths[0]])


@pytest.mark.parametrize("blocks_of", [1, 7, 40, 4096])
@pytest.mark.parametrize("n_cells", [None, 3, 25])
@pytest.mark.parametrize("kind", ["csr", "csc", "dense", "zarr", "raw"])
def test_blocks_are_the_cells_whatever_their_size_and_format(adata, tmp_path, monkeypatch, kind, n_cells, blocks_of):
    monkeypatch.setattr(cell_file, "BLOCK_CELLS", blocks_of)
    path, counts = tmp_path / f"cells.{'zarr' if kind == 'zarr' else 'h5ad'}", adata.X.toarray()
    if kind == "raw":
        adata.raw = adata.copy()
        adata.X = adata.X.log1p()
    elif kind in ("csc", "dense"):
        adata.X = sparse.csc_matrix(adata.X) if kind == "csc" else counts
    adata.write_zarr(path) if kind == "zarr" else adata.write_h5ad(path)
    cells = read_cells(path, n_cells=n_cells)
    blocks = list(cells.blocks())
    rows = adata.obs_names.get_indexer(cells.names)
    assert max(len(block) for block in blocks) <= blocks_of
    np.testing.assert_array_equal(np.concatenate([block.X.toarray() for block in blocks]), counts[rows])
    assert [name for block in blocks for name in block.obs_names] == list(adata.obs_names[rows])
    assert all(list(block.obs["donor"].cat.categories) == sorted(set(cells.obs["donor"])) for block in blocks)


def test_a_stratified_draw_keeps_shares(adata, write):
    adata.obs["kind"] = ["rare"] * 4 + ["usual"] * 36
    path = write(adata)
    drawn = [read_cells(path, n_cells=20, stratify="kind", seed=seed) for seed in range(5)]
    assert [(cells.obs["kind"] == "rare").sum() for cells in drawn] == [2] * 5
    assert len({tuple(cells.names) for cells in drawn}) == 5
    with pytest.raises(DataError, match="^stratify: obs has no column nope"):
        read_cells(path, n_cells=20, stratify="nope")
    with pytest.raises(SettingError, match="^stratify kind only applies when .* set n_cells as well"):
        read_cells(path, stratify="kind")
    with pytest.raises(DataError, match="^path names no file"):
        read_cells([])


def test_a_late_block_that_holds_no_counts_is_named(adata, write, monkeypatch):
    monkeypatch.setattr(cell_file, "BLOCK_CELLS", 10)
    adata.X.data[adata.X.indptr[25]] = 0.5
    with pytest.raises(DataError, match="X of cells 20 to 29 holds log-transformed values"):
        read_cells(write(adata))


def test_categories_of_two_files_become_one_column(adata, tmp_path):
    for name, kinds in {"a": ["B", "T"], "b": ["T", "NK"]}.items():
        adata.obs["cell_type"] = pd.Categorical(kinds * 20)
        adata.obs["plate"] = pd.Categorical([1, None] * 20)
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    cells = read_cells([tmp_path / "a.h5ad", tmp_path / "b.h5ad"])
    assert "cell_type" in cells.label_keys
    assert set(cells.obs["cell_type"]) == {"B", "T", "NK"}
    whole = anndata.concat(list(cells.blocks()))
    assert list(whole.obs["cell_type"].astype(str)) == list(cells.obs["cell_type"])


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"counts_layer": "nope"}, "counts_layer"),
        ({"gene_column": "nope"}, "gene_column"),
        ({"label_keys": ["nope"]}, "label_keys"),
        ({"filter": {"donor": "nope"}}, "filter"),
        ({"filter": {"nope": "x"}}, "filter"),
        ({"obs_columns": ["nope"]}, "obs_columns"),
        ({"stratify": "donor"}, "stratify"),
        ({"n_cells": 41}, "n_cells"),
        ({"subset_hvg": 13}, "subset_hvg"),
    ],
)
def test_errors_name_the_argument_at_fault(adata, write, settings, argument):
    with pytest.raises((DataError, SettingError), match=rf"\b{argument}\b") as raised:
        read_cells(write(adata), **settings)
    assert raised.value.argument == argument
