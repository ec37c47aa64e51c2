import anndata
import numpy as np
from sklearn.neighbors import NearestNeighbors

from biosae.atlas import cell_map as cell_map_module
from biosae.atlas.cell_map import cell_map
from biosae.errors import ArtefactError

from .synthetic import CLASSES


def test_umap_of_the_input_is_used(run, run_folder):
    table = run.table.copy()
    table.obsm["X_umap"] = np.arange(2 * table.n_obs, dtype=float).reshape(-1, 2)
    found = cell_map(table, run_folder)
    assert found.method.startswith("UMAP")
    assert found.position.tolist() == table.obsm["X_umap"].tolist()


def test_tsne_keeps_planted_types_together(run, own_run_folder):
    found = cell_map(run.table, own_run_folder)
    kind = run.table.obs["cell_type"].astype(str).to_numpy()[found.sample]
    near = NearestNeighbors(n_neighbors=6).fit(found.position).kneighbors(return_distance=False)[:, 1:]
    # the planted centres lie three standard deviations apart; by chance a fifth would agree
    assert (kind[near] == kind[:, None]).mean() > 2.5 / len(CLASSES)


def test_tsne_is_made_once(run, own_run_folder, monkeypatch):
    first = cell_map(run.table, own_run_folder)
    monkeypatch.setattr(cell_map_module, "tsne", lambda embedding: np.zeros((len(embedding), 2), np.float32))
    assert cell_map(run.table, own_run_folder).position.tolist() == first.position.tolist()
    (own_run_folder / "features.h5ad").write_bytes(b"other")
    assert not cell_map(run.table, own_run_folder).position.any()


def test_a_run_folder_that_cannot_be_written_still_has_a_map(run, own_run_folder, monkeypatch):
    def refuse(path):
        raise ArtefactError(f"cannot write {path}: Read-only file system")

    said = []
    monkeypatch.setattr(cell_map_module, "atomic_write", refuse)
    monkeypatch.setattr(cell_map_module.logger, "warning", lambda text, *values: said.append(text % values))
    assert len(cell_map(run.table, own_run_folder).position) > 3
    assert "not kept for the next report: cannot write" in said[0]


def test_samples_without_embedding_are_left_out(run, own_run_folder):
    table = run.table.copy()
    table.obsm["X_model"][7] = np.nan
    assert 7 not in cell_map(table, own_run_folder).sample


def test_many_cells_are_subsampled(run_folder, monkeypatch):
    monkeypatch.setattr(cell_map_module, "MOST_UMAP_CELLS", 10)
    table = anndata.AnnData(np.zeros((50, 1)), obsm={"X_umap": np.random.default_rng(0).normal(size=(50, 2))})
    found = cell_map(table, run_folder)
    assert len(found.sample) == 10
    assert np.array_equal(found.position, table.obsm["X_umap"][found.sample].astype(np.float32))


def test_no_embedding_no_map(run_folder):
    assert cell_map(anndata.AnnData(np.zeros((5, 1))), run_folder) is None
