import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from biosae.models.tokens import pad_batch
from biosae.steering import embed
from biosae.steering.edits import FeatureEdit, ProjectOut, RandomDirection
from biosae.steering.embed import SteeredEmbeddings, sharing_tokens

SAMPLES = np.array([0, 2, 3, 4, 5, 6, 7])
FEATURES = torch.tensor([5, 2, 11])


@pytest.fixture
def edits():
    ablate = FeatureEdit(FEATURES, "ablate", torch.zeros(3))
    basis = torch.linalg.qr(torch.randn(6, 1, generator=torch.Generator().manual_seed(0)))[0]
    return {
        "ablate": ablate,
        "same": FeatureEdit(FEATURES, "scale", torch.ones(3)),
        "direction": RandomDirection(ablate, basis[:, 0]),
        "erased": ProjectOut(torch.zeros(6), basis),
    }


@pytest.fixture
def compute(sae, sequences, make_context):
    def compute(edits, samples=SAMPLES):
        found = SteeredEmbeddings(make_context(sae, sequences, None, tokens_per_batch=9), samples)
        found.compute(edits)
        return found

    return compute


def test_identity_reproduces_the_unedited_model_bit_for_bit(adapter, sae, sequences, compute, edits):
    found = compute(edits)
    assert np.array_equal(found.of("same"), found.of("original"))
    for batch in adapter.batches(sequences, SAMPLES, 9):
        rows = np.searchsorted(SAMPLES, batch.sample.numpy())
        assert np.array_equal(found.of("original")[rows], adapter.embed(batch).numpy())


def test_embeddings_are_those_of_the_edited_activations(adapter, sae, sequences, compute, edits):
    found = compute(edits).of("ablate")
    for row, sample in enumerate(SAMPLES):
        batch = pad_batch(sequences, np.array([sample]), 0)
        x = adapter.network["first"](batch.token[batch.content])
        codes = sae.encode(x).dense()
        removed = (codes[:, FEATURES] @ sae.W_dec[FEATURES]) * sae.input_scale
        np.testing.assert_allclose(found[row], torch.tanh(x - removed).mean(0).detach(), atol=1e-5)


def test_a_batch_is_encoded_once_for_all_edits(adapter, sae, sequences, edits, monkeypatch):
    encoded, encode = [], type(sae).encode
    monkeypatch.setattr(type(sae), "encode", lambda self, x: encoded.append(len(x)) or encode(self, x))
    batch = pad_batch(sequences, SAMPLES[:3], 0)
    adapter.embed_each(batch, 0, sharing_tokens(sae, batch, edits.values()))
    assert len(encoded) == 1


def test_what_is_there_is_not_computed_again(adapter, compute, edits, monkeypatch):
    monkeypatch.setattr(embed, "CHUNK_SAMPLES", 3)
    asked, real = [], type(adapter).embed_each

    def spy(adapter, batch, layer, edits):
        asked.append(len(edits))
        return real(adapter, batch, layer, edits)

    monkeypatch.setattr(type(adapter), "embed_each", spy)
    first = {"ablate": edits["ablate"]}
    before = compute(first).of("ablate")
    assert set(asked) == {2}  # the original is always among them
    asked.clear()
    found = compute(edits)
    assert set(asked) == {3} and np.array_equal(found.of("ablate"), before)
    asked.clear()
    compute(edits)
    assert asked == []


def test_a_stopped_run_goes_on_where_it_stopped(compute, edits, monkeypatch, tmp_path):
    monkeypatch.setattr(embed, "CHUNK_SAMPLES", 3)
    whole = {name: compute(edits).of(name) for name in edits}
    chunks = sorted((tmp_path / "cache").glob("*/chunk-*"))
    assert len(chunks) == 3
    chunks[1].unlink()
    chunks[2].write_bytes(b"half a file")
    untouched = load_file(chunks[0])
    again = compute(edits)
    assert all(np.array_equal(again.of(name), whole[name]) for name in edits)
    assert all(np.array_equal(load_file(chunks[0])[name], untouched[name]) for name in edits)
