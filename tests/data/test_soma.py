"""SOMA experiments written by tiledbsoma itself, on disk, and a Census made of one."""

import anndata
import numpy as np
import pandas as pd
import pytest

from biosae.data import soma
from biosae.data.cells import read_cells
from biosae.errors import DataError

pa = pytest.importorskip("pyarrow")
tiledbsoma = pytest.importorskip("tiledbsoma")
io = pytest.importorskip("tiledbsoma.io")


@pytest.fixture
def annotated(adata):
    """The cells with the columns of the Census."""
    adata.obs["tissue"] = pd.Categorical(["lung"] * 25 + ["blood"] * 10 + ["Peyer's patch"] * 5)
    adata.obs["disease"] = pd.Categorical(["normal", "COVID-19", "normal", "influenza"] * 10)
    adata.obs["is_primary_data"] = [True] * 30 + [False] * 10
    adata.obs["raw_sum"] = adata.X.sum(1).A1.astype(np.int64)
    adata.var["feature_id"] = [f"ENSG{n:011d}" for n in range(12)]
    adata.var["feature_name"] = adata.var_names
    return adata


@pytest.fixture
def experiment(annotated, tmp_path):
    """The same cells as SOMA."""
    io.from_anndata(str(tmp_path / "soma"), annotated, measurement_name="RNA", X_layer_name="raw")
    return tmp_path / "soma"


@pytest.fixture
def census(annotated, tmp_path):
    """A Census of one organism: cells have no names, the ids of genes are in another order than the columns of X."""
    counts = annotated.X[:, ::-1].tocoo()
    obs = annotated.obs.reset_index(drop=True).rename_axis("soma_joinid").reset_index()
    var = annotated.var[["feature_id", "feature_name"]].assign(soma_joinid=np.arange(12)[::-1])
    with tiledbsoma.Collection.create(str(tmp_path / "census")) as root:
        human = root.add_new_collection("census_data").add_new_collection(soma.ORGANISM, tiledbsoma.Experiment)
        uris = [_add_table(human, "obs", obs)]
        rna = human.add_new_collection("ms").add_new_collection("RNA", tiledbsoma.Measurement)
        uris.append(_add_table(rna, "var", var))
        layer = rna.add_new_collection("X").add_new_sparse_ndarray("raw", type=pa.float32(), shape=counts.shape)
        layer.write(pa.SparseCOOTensor.from_scipy(counts))
    for uri, table in zip(
        uris, (obs, var), strict=True
    ):  # categories are only kept when a table is opened anew to be written
        with tiledbsoma.open(uri, "w") as made:
            made.write(pa.Table.from_pandas(table, preserve_index=False))
    return tmp_path / "census"


def _add_table(parent, name, table):
    schema = pa.Table.from_pandas(table, preserve_index=False).schema
    return parent.add_new_dataframe(name, schema=schema, domain=[[0, len(table) - 1]]).uri


@pytest.mark.parametrize("blocks_of", [1, 7, 40, 4096])
@pytest.mark.parametrize("n_cells", [None, 3, 25])
def test_an_experiment_reads_as_the_file_it_was_made_from(
    annotated, experiment, write, monkeypatch, n_cells, blocks_of
):
    monkeypatch.setattr(soma, "BLOCK_CELLS", blocks_of)
    cells, expected = read_cells(experiment, n_cells=n_cells), read_cells(write(annotated), n_cells=n_cells)
    blocks = list(cells.blocks())
    assert max(len(block) for block in blocks) <= blocks_of
    found, wanted = anndata.concat(blocks), anndata.concat(list(expected.blocks()))
    np.testing.assert_array_equal(found.X.toarray(), wanted.X.toarray())
    assert list(found.obs_names) == list(wanted.obs_names)
    np.testing.assert_array_equal(cells.obs["n_counts"], expected.obs["n_counts"])
    assert (cells.label_keys, cells.batch_key) == (expected.label_keys, expected.batch_key)
    assert list(cells.var["ensembl_id"]) == list(annotated.var["feature_id"])
    assert list(cells.var["symbol"]) == list(annotated.var["feature_name"])


@pytest.mark.parametrize(
    "filter",
    [
        {"tissue": "blood"},
        {"tissue": ["blood", "Peyer's patch"], "disease": "normal"},
        {"tissue": ["lung"], "disease": ["normal", "COVID-19"], "is_primary_data": True, "cell_type": None},
    ],
)
def test_filters_choose_the_same_cells_in_a_store_and_in_a_file(annotated, experiment, census, write, filter):
    wanted = annotated.obs
    for column, values in filter.items():
        if values is not None:
            wanted = wanted[wanted[column].isin(values if isinstance(values, list) else [values])]
    for path in (experiment, census, write(annotated)):
        cells = read_cells(path, filter=filter, label_keys=[])
        rows = [str(annotated.obs_names.get_loc(name)) for name in wanted.index]
        assert list(cells.names) == (rows if path == census else list(wanted.index))
        counts = anndata.concat(list(cells.blocks()))[:, cells.var.sort_values("symbol").index]
        in_file = annotated[wanted.index, annotated.var.sort_values("feature_name").index]
        np.testing.assert_array_equal(counts.X.toarray(), in_file.X.toarray())
        np.testing.assert_array_equal(cells.obs["n_counts"], in_file.obs["raw_sum"])


def test_several_stores_and_files_are_one_data_set(annotated, experiment, write):
    cells = read_cells([experiment, write(annotated)], filter={"tissue": "lung"})
    assert len(cells.obs) == 50
    assert set(cells.obs["file"]) == {"soma", "cells"}


def test_cells_without_names_have_their_id_and_only_the_asked_columns(annotated, census):
    cells = read_cells(census, filter={"tissue": "blood"}, obs_columns=["donor", "disease"])
    assert list(cells.obs.columns) == ["donor", "disease", "n_counts"]
    assert list(cells.names) == [str(n) for n in range(25, 35)]


def test_what_cannot_be_read_is_said(experiment, census, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="filter: no cell has lungs as tissue; there are such as lung"):
        read_cells(experiment, filter={"tissue": "lungs"})
    with pytest.raises(DataError, match="^filter: obs has no column nope; it has .*cell_type"):
        read_cells(experiment, filter={"nope": 1})
    with pytest.raises(DataError, match=r"no cell of .* fits the filter {'tissue': \['blood'\], 'donor': \['x'\]}"):
        read_cells(experiment, filter={"tissue": "blood", "donor": "x"})
    with pytest.raises(DataError, match="^obs_columns: obs has no column nope"):
        read_cells(experiment, obs_columns=["nope"])
    with pytest.raises(DataError, match="X has no layer spliced; it has raw"):
        read_cells(experiment, counts_layer="spliced")
    with pytest.raises(DataError, match="the measurement RNA is needed, it has no measurements"):
        read_cells(f"{census}/census_data")
    with pytest.raises(DataError, match="file:///absent cannot be read as a SOMA experiment"):
        read_cells("file:///absent")
    monkeypatch.setattr(soma, "RELEASES", (tmp_path / "absent.json").as_uri())
    with pytest.raises(DataError, match="the list of Census releases .* cannot be read.*a copy on disk"):
        read_cells("census:stable")


def test_values_that_are_no_counts_are_named(annotated, tmp_path):
    annotated.X.data[annotated.X.indptr[25]] = 0.5
    del annotated.obs["raw_sum"]
    io.from_anndata(str(tmp_path / "soma"), annotated, measurement_name="RNA", X_layer_name="raw")
    with pytest.raises(DataError, match=r'X\["raw"\] of cells 0 to 39 holds log-transformed values'):
        read_cells(tmp_path / "soma")


def test_a_release_is_looked_up_in_the_list(census, tmp_path, monkeypatch):
    place = {"soma": {"uri": str(census), "s3_region": "us-west-2"}}
    (tmp_path / "release.json").write_text(soma.json.dumps({"stable": "2025-11-08", "2025-11-08": place}))
    monkeypatch.setattr(soma, "RELEASES", (tmp_path / "release.json").as_uri())
    for name in ("census:stable", "census:2025-11-08"):
        assert len(read_cells(name, filter={"tissue": "blood"}).obs) == 10
    with pytest.raises(DataError, match="there is no Census release 2020; there are stable, 2025-11-08"):
        read_cells("census:2020")
