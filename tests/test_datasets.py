import anndata
import h5py
import pandas as pd

from biosae import datasets


def test_toxins_have_a_vector_and_a_group_each():
    files = datasets.three_finger_toxins()
    table = pd.read_csv(files.annotations, index_col="identifier")
    with h5py.File(files.embeddings) as file:
        assert set(file) == set(table.index) and len(table) == 1421
        assert {vector.shape for vector in file.values()} == {(1024,)}
    assert table["major_group"].nunique() == 5


def test_pbmc3k_is_labelled_counts():
    cells = anndata.read_h5ad(datasets.pbmc3k())
    assert cells.shape == (2638, 13656)
    assert cells.X.dtype.kind == "u"
    assert cells.obs["cell_type"].nunique() == 9
