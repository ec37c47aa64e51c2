"""scGPT from its official files against the golden outputs of the official code."""

import json
import shutil

import anndata
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse

from biosae.errors import ModelError, SettingError
from biosae.models.binning import bin_counts
from biosae.models.scgpt import load_scgpt
from biosae.models.tokens import TokenBatch, pad_batch

from .conftest import canonical_cells

# float64 recomputation and other attention kernels differ from the files by up to 4e-6 (float32).
CLOSE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.fixture
def root(golden):
    return golden / "scgpt"


@pytest.fixture
def expected(root):
    return np.load(root / "expected.npz")


@pytest.fixture
def cells(root):
    return canonical_cells(anndata.read_h5ad(root / "input.h5ad"))


def official_batch(ids, values, padding, cls=True):
    """Tokens of the official collator as our batch."""
    mask = torch.from_numpy(~padding)
    special = torch.zeros_like(mask)
    special[:, 0] = cls
    token, value = torch.from_numpy(ids), torch.from_numpy(values.astype(np.float32))
    return TokenBatch(token, value, mask, special, torch.arange(len(ids)))


def by_id(ids, values, cell):
    """The tokens of one cell in ascending order, with their values, without padding."""
    kept = values[cell] != -2
    kept[0] = True
    order = np.argsort(ids[cell][kept][1:]) + 1
    return ids[cell][kept][order], values[cell][kept][order]


def content(sequences, cell):
    span = slice(*sequences.offsets[cell : cell + 2])
    genes = ~sequences.special[span]
    return sequences.token[span][genes], sequences.value[span][genes]


@pytest.mark.parametrize("cls_value, path", [(-2, "embed"), (0, "pp")])
def test_tokens_and_bins_are_those_of_the_official_paths(root, cells, expected, cls_value, path):
    if path == "pp":  # the fine-tuning path drops rare genes first
        cells = cells[:, np.isin(cells.var_names, expected["pp_kept_genes"])].copy()
    sequences = load_scgpt(root, cls_value=cls_value).tokenize(cells)
    ids, values = expected[f"{path}_gene_ids"], expected[f"{path}_values"]
    for cell in range(cells.n_obs):
        start = sequences.offsets[cell]
        assert sequences.special[start] and sequences.value[start] == cls_value
        assert sequences.token[start] == ids[cell, 0]
        for ours, official in zip(content(sequences, cell), by_id(ids, values, cell), strict=True):
            np.testing.assert_array_equal(ours, official)


def test_zero_genes_are_read_in_bin_zero(root, cells, expected):
    cells = cells[:, np.isin(cells.var_names, expected["pp_kept_genes"])].copy()
    adapter = load_scgpt(root, cls_value=0, zero_genes=True, pooling="cls")
    sequences = adapter.tokenize(cells)
    for cell in range(cells.n_obs):
        official = by_id(expected["pp0_gene_ids"], expected["pp0_values"], cell)
        for ours, theirs in zip(content(sequences, cell), official, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    batch = pad_batch(sequences, np.arange(cells.n_obs), adapter.pad_token)
    np.testing.assert_allclose(adapter.run(batch)[:, 0], expected["pp0_cls"], **CLOSE)


@pytest.mark.parametrize(
    "folder, weights",
    [("scgpt", "best_model.pt"), ("scgpt_flash", "best_model.pt"), ("scgpt_flash", "best_model_impl_naming.pt")],
)
def test_hidden_states_of_every_layer_under_every_naming(golden, tmp_path, folder, weights):
    for name, source in {"args.json": "args.json", "vocab.json": "vocab.json", "best_model.pt": weights}.items():
        shutil.copy(golden / folder / source, tmp_path / name)
    adapter = load_scgpt(tmp_path)
    expected = np.load(golden / "scgpt" / "expected.npz")  # the same tensors under three namings
    batch = official_batch(expected["embed_gene_ids"], expected["embed_values"], expected["embed_padding_mask"])
    network = adapter.network
    embedded = network.gene_norm(network.gene_embedding(batch.token)) + network.embed_values(batch.value)
    np.testing.assert_allclose(embedded[batch.mask], expected["embed_hidden"][0], **CLOSE)
    for layer, hidden in enumerate(adapter.activations(batch, range(adapter.n_layers))):
        np.testing.assert_allclose(hidden, expected["embed_hidden"][layer + 1], err_msg=f"layer {layer}", **CLOSE)


def test_embeddings_from_counts_to_the_official_vector(root, cells, expected):
    adapter = load_scgpt(root, pooling="cls")
    batch = pad_batch(adapter.tokenize(cells), np.arange(cells.n_obs), adapter.pad_token)
    np.testing.assert_allclose(adapter.embed(batch), expected["embed_X_scGPT"], **CLOSE)
    hidden = adapter.run(batch)
    mean = torch.stack([h[m].mean(0) for h, m in zip(hidden, batch.mask, strict=True)])
    np.testing.assert_allclose(mean, expected["embed_avgpool_nopad"], **CLOSE)


@pytest.mark.parametrize("name", ["pp", "ties", "sample"])
def test_the_class_token_of_other_inputs(root, expected, name):
    ids, values = expected[f"{name}_gene_ids"], expected[f"{name}_values"]
    adapter = load_scgpt(root)
    padding = ids == adapter.pad_token
    np.testing.assert_allclose(
        adapter.run(official_batch(ids, values, padding))[:, 0], expected[f"{name}_cls"], **CLOSE
    )


def test_the_official_preprocessor_ends_in_the_same_bins(root, cells, expected):
    """Its normalisation and logarithm change no bin, as its stored layers show."""
    kept = np.isin(cells.var_names, expected["pp_kept_genes"])
    counts = cells[:, kept].X.toarray().astype(np.float64)
    normed = counts / counts.sum(1, keepdims=True) * 1e4
    for layer in ("normed", "log1p"):  # official code takes logarithms in place, so that both layers hold them
        np.testing.assert_allclose(np.log1p(normed[0]), expected[f"pp_X_{layer}_row0"], rtol=1e-6)
    for values in (counts, normed, np.log1p(normed)):
        binned = np.zeros(values.shape, np.int64)
        known = sparse.csr_matrix(values)
        binned[values > 0] = bin_counts(known, 51)
        np.testing.assert_array_equal(binned, expected["pp_X_binned"])


def test_official_samples_are_of_the_cells_own_genes(root, cells, expected):
    sequences = load_scgpt(root).tokenize(cells)
    for cell, (ids, values, index) in enumerate(
        zip(expected["sample_gene_ids"], expected["sample_values"], expected["sample_index"], strict=True)
    ):
        binned = dict(zip(*content(sequences, cell), strict=True))
        drawn = index >= 0
        assert [binned[gene] for gene in ids[1:][drawn]] == list(values[1:][drawn])
        known = expected["embed_gene_ids"][cell][1:]
        np.testing.assert_array_equal(known[index[drawn]], ids[1:][drawn])


def test_embedding_tables(root, expected):
    network = load_scgpt(root).network
    values = torch.tensor([-2.0, -1, 0, *range(1, 51), 511, 512, 513, 1000])
    np.testing.assert_allclose(network.embed_values(values[None])[0], expected["value_encoder_table"], **CLOSE)
    genes = network.gene_norm(network.gene_embedding(torch.arange(64)))
    np.testing.assert_allclose(genes, expected["gene_encoder_table"], **CLOSE)


def test_long_cells_are_sampled_the_same_whatever_stands_around_them(root, cells, expected):
    adapter = load_scgpt(root, max_genes=63)
    sequences = adapter.tokenize(cells)
    full = load_scgpt(root).tokenize(cells)
    assert (sequences.lengths == np.minimum(full.lengths, 64)).all()
    for cell in range(cells.n_obs):
        values = dict(zip(*content(full, cell), strict=True))
        token, value = content(sequences, cell)
        assert [values[t] for t in token] == list(value)  # binned before sampling
    alone = adapter.tokenize(cells[[11]].copy())
    np.testing.assert_array_equal(content(alone, 0)[0], content(sequences, 11)[0])
    other = load_scgpt(root, max_genes=63, seed=1).tokenize(cells)
    assert set(content(other, 11)[0]) != set(content(sequences, 11)[0])


def test_random_bins_stay_with_cell_and_gene(root):
    cells = canonical_cells(anndata.read_h5ad(root / "input_ties.h5ad"))
    drawn = load_scgpt(root, binning="random").tokenize(cells)
    backwards = load_scgpt(root, binning="random").tokenize(cells[::-1].copy())
    np.testing.assert_array_equal(content(drawn, 3)[1], content(backwards, 8)[1])
    assert not np.array_equal(drawn.value, load_scgpt(root).tokenize(cells).value)
    assert not np.array_equal(drawn.value, load_scgpt(root, binning="random", seed=1).tokenize(cells).value)


def test_without_cls(root, cells):
    sequences = load_scgpt(root, cls_value=None).tokenize(cells)
    assert not sequences.special.any()


def test_genes_are_known_by_former_symbol_and_by_id(root, cells):
    adapter = load_scgpt(root)
    official = adapter.match_genes(cells.var)
    by_ids = cells.var.assign(symbol="")
    match = adapter.match_genes(by_ids)
    both = (match.token_of_column >= 0) & (official.token_of_column >= 0)
    np.testing.assert_array_equal(match.token_of_column[both], official.token_of_column[both])
    assert match.n_matched > 0.9 * official.n_matched and match.n_by_symbol == 0


def test_a_batch_norm_for_each_batch(root, cells, tmp_path):
    for name in ("args.json", "vocab.json"):
        shutil.copy(root / name, tmp_path / name)
    weights = torch.load(root / "best_model.pt", weights_only=True)
    generator = torch.Generator().manual_seed(0)
    norms = [torch.nn.BatchNorm1d(32, eps=6.1e-5).eval() for _ in range(2)]
    for n, norm in enumerate(norms):
        for buffer in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            buffer.uniform_(0.5, 1.5, generator=generator)
        weights |= {f"dsbn.bns.{n}.{name}": tensor for name, tensor in norm.state_dict().items()}
    weights["batch_encoder.embedding.weight"] = torch.ones(2, 32)
    torch.save(weights, tmp_path / "best_model.pt")
    cells.obs["donor"] = ["b", "a"] * 6
    adapter = load_scgpt(tmp_path, batch_key="donor")
    batch = pad_batch(adapter.tokenize(cells), np.array([4, 5]), adapter.pad_token)
    plain = load_scgpt(root).network
    summed = plain.gene_norm(plain.gene_embedding(batch.token)) + plain.embed_values(batch.value)
    seen = []
    handle = adapter.network.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    adapter.run(batch)
    handle.remove()
    for row, norm in enumerate((norms[1], norms[0])):
        torch.testing.assert_close(seen[0][row], norm(summed[row]).detach())
    edits = [lambda x: x, lambda x: 0.5 * x]
    alone = [adapter.embed(batch, 0, edit) for edit in edits]
    assert all(map(torch.equal, adapter.embed_each(batch, 0, edits), alone))
    with pytest.raises(ModelError, match="fine-tuned on 2 batches.*as batch_key, got None"):
        load_scgpt(tmp_path).tokenize(cells)
    with pytest.raises(ModelError, match="batch_key donor has 1 batches"):
        adapter.tokenize(cells[::2].copy())


def test_predicted_expression_is_that_of_the_official_decoder(root, expected):
    adapter = load_scgpt(root)
    batch = official_batch(expected["embed_gene_ids"], expected["embed_values"], expected["embed_padding_mask"])
    predicted = adapter.expression(adapter.run(batch), batch)[batch.mask]
    np.testing.assert_allclose(predicted, expected["embed_mlm_output"], **CLOSE)
    assert torch.equal(adapter.predict(batch, 0, lambda x: x), predicted[batch.content[batch.mask]])
    assert adapter.predicts == "bins, 0 to 50"
    assert load_scgpt(root, random_init="blocks").predicts is None  # a trained head reads nothing off random states


def test_the_head_of_a_model_of_batches_reads_the_batch(tiny_scgpt_of_batches, tiny_cells):
    adapter = load_scgpt(tiny_scgpt_of_batches, batch_key="donor")
    batch = pad_batch(adapter.tokenize(tiny_cells), np.array([0, 5]), adapter.pad_token)
    hidden = adapter.run(batch)
    weights = torch.load(tiny_scgpt_of_batches / "best_model.pt", weights_only=True)
    embedding = F.layer_norm(
        weights["batch_encoder.embedding.weight"], (16,),
        weights["batch_encoder.enc_norm.weight"], weights["batch_encoder.enc_norm.bias"],
    )  # fmt: skip
    x = torch.cat([hidden[1, 2], embedding[0]])  # cell 5 is of donor a
    for n in (0, 2):
        x = F.leaky_relu(F.linear(x, weights[f"decoder.fc.{n}.weight"], weights[f"decoder.fc.{n}.bias"]), 0.01)
    x = F.linear(x, weights["decoder.fc.4.weight"], weights["decoder.fc.4.bias"])
    torch.testing.assert_close(adapter.expression(hidden, batch)[1, 2], x[0])
    parts = [adapter.predict(batch, 1, edit) for edit in (lambda x: x, lambda x: 0.5 * x)]
    together = adapter.predict_each(batch, 1, [lambda x: x, lambda x: 0.5 * x])
    assert all(map(torch.equal, together, parts)) and not torch.equal(*parts)


@pytest.mark.parametrize(
    "setting",
    [{"max_genes": 1200}, {"max_genes": 0}, {"binning": "none"}, {"pooling": "max"}, {"site": "x"}, {"random_init": 1}],
)
def test_settings_out_of_range_are_refused(root, setting):
    with pytest.raises(SettingError, match=next(iter(setting))):
        load_scgpt(root, **setting)


@pytest.mark.parametrize("missing", ["args.json", "vocab.json", "best_model.pt"])
def test_a_missing_file_is_named(root, tmp_path, missing):
    for name in {"args.json", "vocab.json", "best_model.pt"} - {missing}:
        shutil.copy(root / name, tmp_path / name)
    with pytest.raises(ModelError, match=f"{missing}.*github.com/bowang-lab/scGPT"):
        load_scgpt(tmp_path)


@pytest.mark.parametrize(
    "change, message", [({"nlayers": 4}, "tensors are missing"), ({"input_style": "log1p"}, "only binned is read")]
)
def test_files_that_do_not_belong_together_are_refused(root, tmp_path, change, message):
    for name in ("vocab.json", "best_model.pt"):
        shutil.copy(root / name, tmp_path / name)
    (tmp_path / "args.json").write_text(json.dumps(json.loads((root / "args.json").read_text()) | change))
    with pytest.raises(ModelError, match=message):
        load_scgpt(tmp_path)
