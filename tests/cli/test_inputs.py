"""Inputs of a command from a configuration, where the samples are no file."""

import anndata
import numpy as np
import pytest
from hydra import compose, initialize_config_module

from biosae.cli.config.schema import register
from biosae.cli.settings import settings_of
from biosae.data.files import data_paths
from biosae.pipeline.prepare import prepare


@pytest.fixture
def census_like(tmp_path):
    """Some of the embedded cells as SOMA, with the columns of a Census."""
    io = pytest.importorskip("tiledbsoma.io")
    cells = anndata.read_h5ad(data_paths(None)[0])[:120].copy()
    columns = {"tissue": "blood", "tissue_general": "blood", "assay": "10x", "sex": "female", "dataset_id": "x"}
    cells.obs = cells.obs[["cell_type"]].assign(
        **columns, disease=["normal", "COVID-19", "influenza"] * 40, donor_id=list("abcdef") * 20, is_primary_data=True
    )
    io.from_anndata(str(tmp_path / "soma"), cells, measurement_name="RNA", X_layer_name="raw")
    return cells, tmp_path / "soma"


def test_a_local_census_is_read_as_its_cells_in_a_file_are(census_like, tmp_path):
    cells, path = census_like
    register()
    with initialize_config_module("biosae.cli.config", version_base="1.3"):
        chosen = ["data.filter.disease=[normal,COVID-19]", f"experiment.root={tmp_path}"]
        cfg = compose("train", overrides=["data=census", f"data.path={path}", *chosen])
        in_store = prepare(settings_of(cfg))
        cells[cells.obs["disease"] != "influenza"].copy().write_h5ad(tmp_path / "cells.h5ad")
        in_file = prepare(
            settings_of(compose("train", overrides=["data=h5ad", f"data.path={tmp_path / 'cells.h5ad'}"]))
        )
    assert in_store.sequences.hash == in_file.sequences.hash
    assert in_store.samples.label_keys == ["cell_type", "tissue", "disease"]
    assert in_store.split.group_key == "donor_id"
    split = in_store.split
    assert all(len(set(split.part[split.group == donor])) == 1 for donor in split.group)
    np.testing.assert_array_equal(in_store.samples.obs.index, in_file.samples.obs.index)


def test_a_cell_that_stands_in_two_sources_stays_in_one_part(tmp_path, caplog):
    cells = anndata.read_h5ad(data_paths(None)[0])[:160].copy()
    twice = anndata.concat([cells, cells[:53, ::-1]], keys=["first", "second"], label="source", index_unique="-")
    twice.write_h5ad(tmp_path / "twice.h5ad")
    register()
    with initialize_config_module("biosae.cli.config", version_base="1.3"):
        chosen = ["data=h5ad", f"data.path={tmp_path / 'twice.h5ad'}", f"experiment.root={tmp_path}"]
        with caplog.at_level("INFO"):
            part = np.asarray(prepare(settings_of(compose("train", overrides=chosen))).split.part)
    assert "106 cells have an identical copy; copies stay in one part of the split" in caplog.text
    np.testing.assert_array_equal(part[160:], part[:53])
