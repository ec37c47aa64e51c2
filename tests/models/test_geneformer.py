"""Geneformer from its official files against the golden outputs of the official code."""

import json
import shutil

import anndata
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from biosae.errors import ModelError, SettingError
from biosae.models.geneformer import load_geneformer
from biosae.models.tokens import pad_batch

from .conftest import GENES, SYMBOLS, canonical_cells, write_json_gz

FOLDERS = {"geneformer_v1": "Geneformer-V1-10M", "geneformer_v2": "Geneformer-V2-104M"}
# float64 recomputation and other attention kernels differ from the files by up to 4e-6 (float32).
CLOSE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.fixture(params=FOLDERS)
def case(request, golden):
    """Model folder, canonical cells and expected outputs of one version."""
    root = golden / request.param
    cells = canonical_cells(anndata.read_h5ad(root / "input.h5ad"))
    return root / FOLDERS[request.param], cells, np.load(root / "expected.npz")


def all_cells(adapter, sequences):
    return pad_batch(sequences, np.arange(sequences.n_samples), adapter.pad_token)


def test_tokens_are_those_of_the_official_tokenizer(case):
    folder, cells, expected = case
    adapter = load_geneformer(folder)
    batch = all_cells(adapter, adapter.tokenize(cells))
    np.testing.assert_array_equal(batch.token, expected["input_ids"])
    np.testing.assert_array_equal(batch.mask, expected["attention_mask"])
    np.testing.assert_array_equal(batch.mask.sum(1), expected["length"])
    np.testing.assert_allclose(batch.value, expected["normalized_counts"], rtol=1e-6)
    without_count = (expected["normalized_counts"] == 0) & (expected["attention_mask"] == 1)
    np.testing.assert_array_equal(batch.special, without_count)


def test_cells_are_cut_like_the_official_tokenizer(case):
    folder, cells, expected = case
    tokens = expected["truncated_input_ids"].shape[1]
    adapter = load_geneformer(folder, max_genes=tokens - (2 if "V2" in folder.name else 0))
    batch = all_cells(adapter, adapter.tokenize(cells))
    np.testing.assert_array_equal(batch.token, expected["truncated_input_ids"])
    np.testing.assert_array_equal(batch.mask.sum(1), expected["truncated_length"])
    (hidden,) = adapter.activations(batch, [-1])
    np.testing.assert_allclose(hidden, expected["truncated_hidden_last"], **CLOSE)


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_hidden_states_of_every_layer(case, weights, tmp_path):
    folder, cells, expected = case
    shutil.copytree(folder.parent / "geneformer", tmp_path / "geneformer")
    (tmp_path / "model").mkdir()
    shutil.copy(folder / "config.json", tmp_path / "model")
    if (folder / weights).exists():
        shutil.copy(folder / weights, tmp_path / "model")
    else:  # V2 is published as safetensors only
        torch.save(load_file(folder / "model.safetensors"), tmp_path / "model" / weights)
    adapter = load_geneformer(tmp_path / "model")
    batch = all_cells(adapter, adapter.tokenize(cells))
    embedded = []
    handle = adapter.network.embedding_norm.register_forward_hook(lambda *args: embedded.append(args[-1]))
    hidden = adapter.activations(batch, range(adapter.n_layers))
    handle.remove()
    states = [embedded[0][batch.mask], *hidden]
    assert len(states) == len(expected["hidden"])
    for layer, (ours, official) in enumerate(zip(states, expected["hidden"], strict=True)):
        np.testing.assert_allclose(ours, official, err_msg=f"layer {layer - 1}", **CLOSE)


def test_cell_embeddings(case):
    folder, cells, expected = case
    adapter = load_geneformer(folder)
    batch = all_cells(adapter, adapter.tokenize(cells))
    np.testing.assert_allclose(adapter.embed(batch), expected["cell_emb_layer_0"], **CLOSE)
    before_last = adapter.activations(batch, [-2])[0][batch.content[batch.mask]]
    means = torch.stack([part.mean(0) for part in before_last.split(batch.content.sum(1).tolist())])
    np.testing.assert_allclose(means, expected["cell_emb_layer_m1"], **CLOSE)


def test_cls_embeddings(golden):
    root = golden / "geneformer_v2"
    expected = np.load(root / "expected.npz")
    adapter = load_geneformer(root / FOLDERS["geneformer_v2"], pooling="cls")
    batch = all_cells(adapter, adapter.tokenize(canonical_cells(anndata.read_h5ad(root / "input.h5ad"))))
    np.testing.assert_allclose(adapter.embed(batch), expected["cls_emb_layer_0"], **CLOSE)
    (before_last,) = adapter.activations(batch, [-2])
    first = batch.mask.sum(1).cumsum(0) - batch.mask.sum(1)  # <cls> of each cell
    np.testing.assert_allclose(before_last[first], expected["cls_emb_layer_m1"], **CLOSE)
    with pytest.raises(SettingError, match="needs a <cls> token"):
        load_geneformer(golden / "geneformer_v1" / FOLDERS["geneformer_v1"], pooling="cls")


@pytest.mark.parametrize("version", FOLDERS)
def test_ties_are_in_the_official_order_up_to_their_groups(golden, version, tmp_path):
    root = tmp_path / version
    shutil.copytree(golden / version, root)
    medians = next(root.glob("geneformer/**/ties_gene_median_dictionary.pkl"))
    target = next(root.glob("geneformer/**/gene_median_dictionary_gc*.pkl"))
    medians.replace(target)
    adapter = load_geneformer(root / FOLDERS[version])
    sequences = adapter.tokenize(canonical_cells(anndata.read_h5ad(root / "input_ties.h5ad")))
    expected = np.load(root / "expected_ties.npz")
    for cell, (tokens, ratios) in enumerate(zip(expected["ties_tokens"], expected["ties_ratio"], strict=True)):
        span = slice(*sequences.offsets[cell : cell + 2])
        ours = sequences.token[span][~sequences.special[span]]
        ratio = dict(zip(tokens, ratios, strict=True))
        assert sorted(ours) == sorted(ratio)
        np.testing.assert_allclose([ratio[token] for token in ours], ratios, rtol=1e-6)


def test_symbols_serve_where_there_are_no_ids(tiny_geneformer, cells):
    adapter = load_geneformer(tiny_geneformer)
    by_id = adapter.tokenize(cells)
    cells.var["ensembl_id"] = ""
    cells.var["symbol"] = [symbol.lower() if n % 2 else symbol for n, symbol in enumerate(SYMBOLS)]
    np.testing.assert_array_equal(adapter.tokenize(cells).token, by_id.token)
    match = adapter.match_genes(cells.var)
    assert (match.n_by_id, match.n_by_symbol, match.n_matched) == (0, 40, 40)
    assert "40 of 40 genes" in match.sentence


def test_versions_are_stripped_and_retired_ids_summed(tiny_geneformer, cells):
    adapter = load_geneformer(tiny_geneformer)
    cells.var["ensembl_id"] = [f"{gene}.{n}" for n, gene in enumerate(GENES)]
    assert adapter.match_genes(cells.var).n_by_id == 40
    cells.var["ensembl_id"] = ["ENSG00000000099", *GENES[:1], *GENES[2:]]  # the second column is the first gene too
    match = adapter.match_genes(cells.var)
    assert match.token_of_column[0] == match.token_of_column[1] == 4
    sequences = adapter.tokenize(cells)
    counts = cells.X[5].toarray().ravel()
    first = sequences.offsets[5] + list(sequences.token[sequences.offsets[5] :]).index(4)
    assert sequences.value[first] == pytest.approx((counts[0] + counts[1]) / counts.sum() * 1e4, rel=1e-6)


def test_unknown_ids_are_not_looked_up_by_symbol(tiny_geneformer, cells):
    cells.var["ensembl_id"] = ["ENSG99999999999", *GENES[1:]]
    assert load_geneformer(tiny_geneformer).match_genes(cells.var).n_matched == 39


def test_no_known_gene_says_what_to_do(tiny_geneformer, cells):
    cells.var["ensembl_id"], cells.var["symbol"] = "", "probe"
    with pytest.raises(ModelError, match="knows none of the 40 genes .*probe.*as gene_column"):
        load_geneformer(tiny_geneformer).tokenize(cells)


def test_half_precision_files_run_in_float32(tiny_geneformer, cells):
    weights = load_file(tiny_geneformer / "model.safetensors")
    rounded = {name: weight.half() for name, weight in weights.items()}
    save_file({name: weight.float() for name, weight in rounded.items()}, tiny_geneformer / "model.safetensors")
    expected = load_geneformer(tiny_geneformer)
    save_file(rounded, tiny_geneformer / "model.safetensors")
    adapter = load_geneformer(tiny_geneformer)
    batch = all_cells(adapter, adapter.tokenize(cells[:3].copy()))
    assert adapter.embed(batch).dtype == torch.float32
    assert torch.equal(adapter.embed(batch), expected.embed(batch))


def test_random_init_keeps_what_it_says(tiny_geneformer):
    trained, again = load_geneformer(tiny_geneformer), load_geneformer(tiny_geneformer, random_init=False)
    blocks = load_geneformer(tiny_geneformer, random_init="blocks")
    everything = load_geneformer(tiny_geneformer, random_init="all")
    other_seed = load_geneformer(tiny_geneformer, random_init="all", seed=1)
    embedding = "gene_embedding.weight"
    layer = "layers.2.mlp.2.weight"
    same = lambda a, b, name: torch.equal(a.network.state_dict()[name], b.network.state_dict()[name])  # noqa: E731
    assert same(trained, again, embedding) and same(trained, again, layer)
    assert same(trained, blocks, embedding) and not same(trained, blocks, layer)
    assert not same(trained, everything, embedding) and same(blocks, everything, layer)
    assert not same(everything, other_seed, embedding)
    assert trained.fingerprint == again.fingerprint
    assert len({model.fingerprint for model in (trained, blocks, everything, other_seed)}) == 4


def test_the_fingerprint_knows_weights_and_dictionaries(tiny_geneformer):
    before = load_geneformer(tiny_geneformer).fingerprint
    weights = load_file(tiny_geneformer / "model.safetensors")
    weights["bert.encoder.layer.0.output.dense.bias"][0] += 1e-3
    save_file(weights, tiny_geneformer / "model.safetensors")
    changed = load_geneformer(tiny_geneformer).fingerprint
    write_json_gz(tiny_geneformer / "gene_median_dictionary.json.gz", dict.fromkeys(GENES, 2.0))
    assert len({before, changed, load_geneformer(tiny_geneformer).fingerprint}) == 3


def test_the_name_is_that_of_the_folder(tiny_geneformer, tmp_path):
    assert load_geneformer(str(tiny_geneformer)).name == tiny_geneformer.name


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "token_dictionary", "gene_median_dictionary"])
def test_a_missing_file_is_named_with_where_it_is_published(tiny_geneformer, missing):
    next(tiny_geneformer.glob(f"{missing}*")).unlink()
    with pytest.raises(ModelError, match=f"{missing}.*huggingface.co/ctheodoris/Geneformer"):
        load_geneformer(tiny_geneformer)


def test_a_missing_folder_is_named():
    with pytest.raises(ModelError, match="model_dir=nowhere is not a folder"):
        load_geneformer("nowhere")


def test_dictionaries_of_another_version_are_refused(tiny_geneformer):
    write_json_gz(tiny_geneformer / "token_dictionary.json.gz", {gene: n for n, gene in enumerate(GENES)})
    with pytest.raises(ModelError, match="has 44 tokens, but token_dictionary.json.gz has 40"):
        load_geneformer(tiny_geneformer)


def test_a_median_is_needed_for_every_gene(tiny_geneformer):
    write_json_gz(tiny_geneformer / "gene_median_dictionary.json.gz", dict.fromkeys(GENES[1:], 1.0))
    with pytest.raises(ModelError, match=f"1 genes .*no positive median.*{GENES[0]}"):
        load_geneformer(tiny_geneformer)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.pop("bert.encoder.layer.1.output.dense.bias"), "1 tensors are missing.*layers.1.mlp.2.bias"),
        (lambda w: w.update({"bert.encoder.layer.0.lora": torch.ones(2)}), "1 tensors are unknown.*lora"),
        (lambda w: w.update({"bert.embeddings.LayerNorm.bias": torch.ones(2)}), r"embedding_norm.bias is \(2,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tiny_geneformer, change, message):
    weights = load_file(tiny_geneformer / "model.safetensors")
    change(weights)
    save_file(weights, tiny_geneformer / "model.safetensors")
    with pytest.raises(ModelError, match=message):
        load_geneformer(tiny_geneformer)


def test_another_kind_of_model_is_refused(tiny_geneformer):
    config = json.loads((tiny_geneformer / "config.json").read_text()) | {"model_type": "esm"}
    (tiny_geneformer / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="model_type=esm, a Geneformer has bert"):
        load_geneformer(tiny_geneformer)


@pytest.mark.parametrize(
    "setting", [{"max_genes": 0}, {"max_genes": 63}, {"random_init": "some"}, {"site": "x"}, {"pooling": "x"}]
)
def test_settings_out_of_range_are_refused(tiny_geneformer, setting):
    with pytest.raises(SettingError, match=next(iter(setting))):
        load_geneformer(tiny_geneformer, **setting)
