"""ESM-2 from the files of both libraries against the golden outputs of their code."""

import json
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from biosae.errors import ModelError, SettingError
from biosae.models.esm2 import MASK, VOCABULARY, load_esm2
from biosae.models.tokens import TokenBatch, pad_batch

# float64 recomputation and other attention kernels differ from the files by up to 4e-6 (float32).
CLOSE = {"atol": 2e-5, "rtol": 2e-5}


def read_fasta(path):
    records = [record.split("\n", 1) for record in path.read_text().split(">")[1:]]
    return SimpleNamespace(
        ids=[name.split()[0] for name, _ in records], sequences=[text.replace("\n", "") for _, text in records]
    )


@pytest.fixture
def proteins(golden):
    return read_fasta(golden / "esm2" / "input.fasta")


def all_proteins(adapter, proteins):
    return pad_batch(adapter.tokenize(proteins), np.arange(len(proteins.ids)), adapter.pad_token)


@pytest.mark.parametrize(
    "folder, tokens, states", [("esm2", "input_ids", "hidden"), ("esm2_fair", "tokens", "representations")]
)
def test_tokens_states_and_embeddings(golden, proteins, folder, tokens, states):
    expected = np.load(golden / folder / "expected.npz")
    adapter = load_esm2(golden / folder)
    batch = all_proteins(adapter, proteins)
    np.testing.assert_array_equal(batch.token, expected[tokens])
    hidden = adapter.activations(batch, range(adapter.n_layers))
    for layer, ours in enumerate(hidden[:-1]):
        np.testing.assert_allclose(ours, expected[states][layer + 1], err_msg=f"layer {layer}", **CLOSE)
    (normed,) = load_esm2(golden / folder, site="norm").activations(batch, [-1])
    np.testing.assert_allclose(normed, expected[states][-1], **CLOSE)
    np.testing.assert_allclose(adapter.embed(batch), expected["mean_residues"], **CLOSE)
    real = adapter.network.embed(batch.token, batch.mask)[batch.mask]
    np.testing.assert_allclose(real, expected[states][0], **CLOSE)
    if folder == "esm2":
        np.testing.assert_array_equal(batch.mask, expected["attention_mask"])
        np.testing.assert_allclose(hidden[-1], expected["last_residual"], **CLOSE)


def test_a_fair_file_may_be_named_itself(golden, proteins):
    path = golden / "esm2_fair" / "esm2_t4_tiny_UR50D.pt"
    by_file, by_folder = load_esm2(path), load_esm2(path.parent)
    assert by_file.name == "esm2_t4_tiny_UR50D" and by_file.fingerprint == by_folder.fingerprint


def test_masked_residues_are_zero_and_scale_the_rest(golden):
    expected = np.load(golden / "esm2" / "expected.npz")
    adapter = load_esm2(golden / "esm2")
    token = torch.from_numpy(expected["masked_input_ids"])[None]
    real = torch.ones_like(token, dtype=torch.bool)
    assert (token == MASK).any()
    batch = TokenBatch(token, torch.zeros(token.shape), real, ~real, torch.zeros(1))
    np.testing.assert_allclose(adapter.run(batch)[0], expected["masked_hidden"][-1], **CLOSE)
    np.testing.assert_allclose(adapter.network.embed(token, real)[0], expected["masked_hidden"][0], **CLOSE)
    for layer, hidden in enumerate(adapter.activations(batch, range(adapter.n_layers - 1))):
        np.testing.assert_allclose(hidden, expected["masked_hidden"][layer + 1], **CLOSE)


def test_the_stored_frequencies_are_used(golden, proteins):
    adapter = load_esm2(golden / "esm2")
    batch = all_proteins(adapter, proteins)
    before = adapter.run(batch)
    d_head = 10
    adapter.network.inv_freq = 1 / 10_000 ** (torch.arange(0, d_head, 2).float() / d_head)
    assert (adapter.run(batch) - before).abs().max() > 1e-4


def test_unknown_letters_keep_their_place_and_are_said(golden, caplog):
    adapter = load_esm2(golden / "esm2")
    with caplog.at_level(logging.WARNING):
        sequences = adapter.tokenize(SimpleNamespace(ids=["a", "b"], sequences=["MKJJAaZ", ""]))
    assert [VOCABULARY[token] for token in sequences.token] == ["<cls>", *"MKXXAAZ", "<eos>"]
    assert list(sequences.lengths) == [9, 0]
    assert "2 residues of 2 proteins are read as X: J" in caplog.text


def test_long_proteins_are_cut_and_said(golden, caplog):
    adapter = load_esm2(golden / "esm2", max_residues=4)
    with caplog.at_level(logging.WARNING):
        sequences = adapter.tokenize(SimpleNamespace(ids=["a"], sequences=["MKTAYI"]))
    assert [VOCABULARY[token] for token in sequences.token] == ["<cls>", *"MKTA", "<eos>"]
    assert "2 residues beyond max_residues=4" in caplog.text


def test_shards_and_pickled_weights_give_the_same_model(golden, proteins, tmp_path):
    expected = load_esm2(golden / "esm2")
    shutil.copy(golden / "esm2" / "config.json", tmp_path)
    weights = load_file(golden / "esm2" / "model.safetensors")
    names = sorted(weights)
    index = {name: f"model-{n % 2}.safetensors" for n, name in enumerate(names)}
    for shard in set(index.values()):
        save_file({name: weights[name] for name in names if index[name] == shard}, tmp_path / shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    batch = all_proteins(expected, proteins)
    assert torch.equal(load_esm2(tmp_path).embed(batch), expected.embed(batch))
    (tmp_path / "model.safetensors.index.json").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    assert torch.equal(load_esm2(tmp_path).embed(batch), expected.embed(batch))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(golden, tmp_path, missing):
    for name in {"config.json", "model.safetensors"} - {missing}:
        shutil.copy(golden / "esm2" / name, tmp_path)
    with pytest.raises(ModelError, match=f"{missing}.*huggingface.co/facebook"):
        load_esm2(tmp_path)


def test_another_esm_is_refused(golden, tmp_path):
    shutil.copy(golden / "esm2" / "model.safetensors", tmp_path)
    config = json.loads((golden / "esm2" / "config.json").read_text()) | {"position_embedding_type": "absolute"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="position_embedding_type=absolute, an ESM-2 has rotary"):
        load_esm2(tmp_path)


def test_several_fair_files_in_one_folder_need_a_choice(golden, tmp_path):
    for name in ("esm2_a.pt", "esm2_b.pt"):
        shutil.copy(golden / "esm2_fair" / "esm2_t4_tiny_UR50D.pt", tmp_path / name)
    with pytest.raises(ModelError, match="several models"):
        load_esm2(tmp_path)


def test_a_length_below_one_is_refused(golden):
    with pytest.raises(SettingError, match="max_residues must be at least 1"):
        load_esm2(golden / "esm2", max_residues=0)


def test_an_unknown_site_is_refused(golden):
    with pytest.raises(SettingError, match="^site must be one of residual, mlp, norm, got x"):
        load_esm2(golden / "esm2", site="x")
