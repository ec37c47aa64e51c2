import numpy as np
import pytest
import torch

from biosae.activations.extract import extract_activations
from biosae.models.vectors import StoredVectors, residues


class InMemory:
    """Embeddings of three samples of 2, 1 and 3 rows."""

    n_rows = np.array([2, 1, 3])
    d = 4

    def __init__(self):
        self.values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
        self._ends = np.cumsum(self.n_rows)

    def read(self, rows):
        return np.concatenate([self.values[self._ends[row] - self.n_rows[row] : self._ends[row]] for row in rows])


def test_activations_are_the_stored_rows(tmp_path):
    vectors = InMemory()
    adapter = StoredVectors(vectors, "m", "content")
    store = extract_activations(adapter, adapter.tokenize(vectors), 0, tmp_path, dtype="float32")
    (shard,) = store.shards()
    np.testing.assert_array_equal(shard.values.numpy(), vectors.values)
    assert shard.sample.tolist() == [0, 0, 1, 2, 2, 2]
    assert not shard.special.any()
    assert list(adapter.vocabulary) == ["residue"]


def test_other_content_is_stored_apart_and_other_models_are_told_apart(tmp_path):
    vectors = InMemory()
    adapters = [StoredVectors(vectors, name, content) for name, content in (("m", "a"), ("m", "b"), ("n", "a"))]
    folders = [extract_activations(a, a.tokenize(vectors), 0, tmp_path).folder for a in adapters]
    assert len(set(folders)) == 3
    first, second, third = (adapter.fingerprint for adapter in adapters)
    assert first == second != third


def test_residues_are_named_where_sequences_are_known():
    vectors = InMemory()
    adapter = StoredVectors(vectors, "m", "", residues(["Ac", "W", "GU-"]))
    tokens = adapter.tokenize(vectors)
    assert "".join(adapter.vocabulary[tokens.token]) == "ACWGXX"


def test_an_edit_that_changes_nothing_changes_no_bit():
    vectors = InMemory()
    adapter = StoredVectors(vectors, "m", "")
    (batch,) = adapter.batches(adapter.tokenize(vectors), np.arange(3), 100)
    expected = adapter.embed(batch)
    assert torch.equal(adapter.embed(batch, 0, lambda x: x), expected)
    order = batch.sample.tolist()
    means = [vectors.read([row]).mean(0) for row in order]
    np.testing.assert_allclose(expected.numpy(), np.stack(means), rtol=1e-6)
    assert adapter.embed(batch, 0, torch.zeros_like).abs().max() == pytest.approx(0)
