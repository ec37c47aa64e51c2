import h5py
import pandas as pd
import pytest

from biosae import datasets
from biosae.errors import DataError


def test_toxins_have_a_vector_and_a_group_each():
    files = datasets.three_finger_toxins()
    table = pd.read_csv(files.annotations, index_col="identifier")
    with h5py.File(files.embeddings) as file:
        assert set(file) == set(table.index) and len(table) == 1421
        assert {vector.shape for vector in file.values()} == {(1024,)}
    assert table["major_group"].nunique() == 5


def test_pbmc3k_is_labelled_counts():
    cells = datasets.pbmc3k()
    assert cells.shape == (2638, 13656)
    assert cells.X.dtype.kind == "u"
    assert cells.obs["cell_type"].nunique() == 9


def test_cells_of_other_donors_have_classes_of_pbmc3k():
    cells, first = datasets.pbmc_cite(), datasets.pbmc3k()
    assert cells.shape == (311, 11831) and cells.X.dtype.kind == "u"
    for column in ("cell_type", "cell_type_coarse"):
        assert set(cells.obs[column].cat.categories) < set(first.obs[column].cat.categories)
    expressed = cells[cells.obs["cell_type"] == "B", "MS4A1"].X.toarray()
    assert (expressed > 0).mean() > 0.8  # no gene had a say in the classes


def test_kang_needs_the_path_of_a_file(tmp_path):
    with pytest.raises(DataError, match="GSE96583"):
        datasets.kang(tmp_path / "kang.h5ad")
    datasets.pbmc3k()[:10].write_h5ad(tmp_path / "kang.h5ad")
    assert datasets.kang(tmp_path / "kang.h5ad").n_obs == 10
