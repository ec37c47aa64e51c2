"""scFoundation from its official files against the golden outputs of the official code."""

import shutil

import anndata
import numpy as np
import pytest
import torch

from biosae.errors import ModelError, SettingError
from biosae.models.scfoundation import load_scfoundation
from biosae.models.scfoundation_tokens import DepthTarget
from biosae.models.tokens import pad_batch

from .conftest import canonical_cells

# float64 recomputation and padded batches differ from the official single cells by up to 4e-6 (float32).
CLOSE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.fixture
def root(golden):
    return golden / "scfoundation"


@pytest.fixture
def expected(root):
    return np.load(root / "expected.npz")


@pytest.fixture
def cells(root):
    return canonical_cells(anndata.read_h5ad(root / "input.h5ad"))


def all_cells(adapter, cells):
    return pad_batch(adapter.tokenize(cells), np.arange(cells.n_obs), adapter.pad_token)


def test_tokens_and_values_are_the_official_ones(root, cells, expected):
    batch = all_cells(load_scfoundation(root), cells)
    padding = expected["padding_mask"]
    np.testing.assert_array_equal(batch.mask, ~padding)
    np.testing.assert_array_equal(batch.mask.sum(1), expected["length"])
    np.testing.assert_array_equal(batch.token[batch.mask], expected["gene_ids"][~padding])
    own_depth = batch.value[batch.token == 19265].double()
    np.testing.assert_allclose(10**own_depth, expected["total_counts"], rtol=1e-6)
    # The official values are log1p of float32 counts per 10,000.
    np.testing.assert_allclose(batch.value[batch.mask], expected["values"][~padding], atol=1e-6, rtol=1e-5)
    assert (batch.special.sum(1) == 2).all() and (batch.token[batch.special] >= 19264).all()


def test_hidden_states_of_every_layer_in_one_padded_batch(root, cells, expected):
    adapter = load_scfoundation(root)
    batch = all_cells(adapter, cells)
    network = adapter.network
    embedded = (network.value_embedding(batch.value) + network.gene_embedding(batch.token))[batch.mask]
    np.testing.assert_allclose(embedded, expected["hidden"][0], **CLOSE)
    for layer, hidden in enumerate(adapter.activations(batch, range(adapter.n_layers))):
        np.testing.assert_allclose(hidden, expected["hidden"][layer + 1], err_msg=f"layer {layer}", **CLOSE)
    np.testing.assert_allclose(adapter.run(batch)[batch.mask], expected["hidden"][-1], **CLOSE)
    (normed,) = load_scfoundation(root, site="norm").activations(batch, [-1])
    np.testing.assert_allclose(normed, expected["hidden"][-1], **CLOSE)


@pytest.mark.parametrize(
    "name, settings",
    [
        ("cell_all_t4", {"pooling": "all"}),
        ("cell_max_t4", {"pooling": "max"}),
        ("cell_all_f1", {"pooling": "all", "target_depth": "f1"}),
        ("cell_all_a5_rde", {"pooling": "all", "target_depth": "a5", "version": "rde"}),
        ("cell_all_t4_prenorm", {"pooling": "all", "input": "normalized"}),
    ],
)
def test_embeddings_from_counts_to_the_official_vector(root, cells, expected, name, settings):
    adapter = load_scfoundation(root, **settings)
    np.testing.assert_allclose(adapter.embed(all_cells(adapter, cells)), expected[name], **CLOSE)


def test_bulk_samples_are_scaled_to_their_median(root, cells, expected):
    target_sum = float(np.median(expected["total_counts"]))
    adapter = load_scfoundation(root, pooling="all", input="bulk", target_sum=target_sum)
    np.testing.assert_allclose(adapter.embed(all_cells(adapter, cells)), expected["bulk_all"], **CLOSE)


def test_the_mean_is_that_of_the_official_vector(root, cells, expected):
    adapter = load_scfoundation(root)
    d = adapter.d_model
    np.testing.assert_allclose(adapter.embed(all_cells(adapter, cells)), expected["cell_all_t4"][:, 3 * d :], **CLOSE)


def test_value_embedding_table(root, expected):
    embedding = load_scfoundation(root).network.value_embedding
    values = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 5, 6.5, 9.2, 102, 103])
    # The values 102 and 103 mean masked and padded there; no activation reads them.
    np.testing.assert_allclose(embedding.weights(values), expected["token_emb_weight"], atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(embedding(values)[:10], expected["token_emb_table"][:10], **CLOSE)
    official = torch.load(root / "models.ckpt", weights_only=True)["cell"]["state_dict"]
    for kind, row in (("mask", 10), ("pad", 11)):
        stored = official[f"model.token_emb.emb_{kind}.weight"][0]
        np.testing.assert_array_equal(stored, expected["token_emb_table"][row])


def test_a_cell_with_one_count_keeps_both_depth_tokens(root, cells):
    """log10(1) = 0, and the official gathering of values above 0 loses the token."""
    counts = np.zeros(cells.shape, np.float32)
    adapter = load_scfoundation(root, pooling="all")
    counts[0, np.flatnonzero(adapter.match_genes(cells.var).token_of_column >= 0)[0]] = 1
    cells.X = type(cells.X)(counts)
    sequences = adapter.tokenize(cells)
    assert list(sequences.lengths[:2]) == [3, 0]
    assert list(sequences.special[:3]) == [False, True, True]
    batch = pad_batch(sequences, np.array([0]), adapter.pad_token)
    assert torch.isfinite(adapter.embed(batch)).all()


def test_depth_targets():
    total = np.array([100.0, 1000.0])
    np.testing.assert_allclose(DepthTarget("t4")(total), 4)
    np.testing.assert_allclose(DepthTarget("f10")(total), [3, 4])
    np.testing.assert_allclose(DepthTarget("a0.5")(total), [2.5, 3.5])


@pytest.mark.parametrize(
    "setting",
    [{"target_depth": "4"}, {"target_depth": "x4"}, {"version": "all"}, {"pooling": "cls"}, {"site": "input"}]
    + [{"input": "raw"}, {"target_sum": 0}],
)
def test_settings_out_of_range_are_refused(root, setting):
    with pytest.raises(SettingError, match=f"^{next(iter(setting))}"):
        load_scfoundation(root, **setting)


def test_the_final_norm_is_a_site_of_the_last_layer_only(root, cells):
    adapter = load_scfoundation(root, site="norm")
    batch = all_cells(adapter, cells)
    with pytest.raises(SettingError, match="after the last layer"):
        adapter.activations(batch, [0])
    assert torch.equal(adapter.embed_each(batch, -1, [lambda x: 2 * x])[0], adapter.embed(batch, -1, lambda x: 2 * x))


@pytest.mark.parametrize("missing", ["models.ckpt", "OS_scRNA_gene_index.19264.tsv"])
def test_a_missing_file_is_named(root, tmp_path, missing):
    for name in {"models.ckpt", "OS_scRNA_gene_index.19264.tsv"} - {missing}:
        shutil.copy(root / name, tmp_path / name)
    with pytest.raises(ModelError, match=f"{missing}.*github.com/biomap-research/scFoundation"):
        load_scfoundation(tmp_path)


def test_a_gene_list_of_another_kind_is_refused(root, tmp_path):
    shutil.copy(root / "models.ckpt", tmp_path / "models.ckpt")
    (tmp_path / "OS_scRNA_gene_index.19264.tsv").write_text("gene\tn\nA\t0\n")
    with pytest.raises(ModelError, match="columns gene_name and index"):
        load_scfoundation(tmp_path)
