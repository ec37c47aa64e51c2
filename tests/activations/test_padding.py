"""Sparsity, errors, dead features and top-k must not be counted over padding and special tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from biosae.activations.extract import extract_activations
from biosae.activations.source import ActivationSource, ArrayActivations
from biosae.activations.stream import StreamedActivations
from biosae.errors import DataError
from biosae.saes.variants.batchtopk import BatchTopK
from biosae.training.evaluate import evaluate
from biosae.training.settings import TrainerSettings
from biosae.training.train_state import TrainState

LOUD = 49
"""The id of all special tokens here. Like CLS and BOS, and like padding, it drowns the others: 1,000 times as large."""


@pytest.fixture
def loud(adapter, sequences):
    with torch.no_grad():
        adapter.network.embedding.weight[[adapter.pad_token, LOUD]] *= 1000
    token = np.where(sequences.special, LOUD, sequences.token % LOUD)
    return adapter, replace(sequences, token=token.astype(np.int32))


@pytest.fixture(params=["store", "stream"])
def source(request, loud, tmp_path) -> ActivationSource:
    """All samples, in batches of sequences of unlike lengths."""
    adapter, sequences = loud
    if request.param == "stream":
        return StreamedActivations(adapter, sequences, np.arange(30), 0, buffer_tokens=100, tokens_per_batch=256)
    store = extract_activations(adapter, sequences, 0, tmp_path, dtype="float32", tokens_per_batch=256)
    return store.content_of(np.arange(30), buffer_tokens=100)


@pytest.fixture
def content(loud) -> ArrayActivations:
    """The samples' own tokens, one by one through the layer."""
    adapter, sequences = loud
    token = torch.from_numpy(sequences.token[~sequences.special]).long()
    with torch.no_grad():
        return ArrayActivations(adapter.network.layers[0](adapter.network.embedding(token)))


def learned(source: ActivationSource) -> tuple[BatchTopK, TrainState]:
    """After one step on all that the source gives."""
    (x,) = source.batches(10_000, seed=0)
    sae = BatchTopK(6, 24, k=2)
    sae.fit_normaliser(x)
    learner = TrainState(sae, TrainerSettings(lr=1e-3), 1, len(x))
    learner.step(x)
    return sae, learner


def test_training_counts_what_it_would_without_padding_and_special_tokens(source, content):
    """Counted in: losses, L0, the normaliser, the threshold, and the features that have fired."""
    (sae, learner), (expected_sae, expected) = learned(source), learned(content)
    # Sums of float32 in another order.
    assert learner.metrics() == pytest.approx(expected.metrics(), rel=1e-4)
    assert torch.equal(learner.tokens_since_fired, expected.tokens_since_fired)
    for name, buffer in sae.named_buffers():
        torch.testing.assert_close(buffer, dict(expected_sae.named_buffers())[name], rtol=1e-4, atol=1e-5)


def test_evaluation_counts_what_it_would_without_padding_and_special_tokens(source, content):
    """Tokens with large norms would dominate the error, and padding would dilute L0."""
    sae, _ = learned(content)
    assert evaluate(sae, source, 64) == pytest.approx(evaluate(sae, content, 64), rel=1e-4)


def test_samples_that_are_all_padding_and_special_tokens_are_refused(loud, tmp_path):
    """Before training: there is nothing to learn from."""
    adapter, sequences = loud
    nothing = replace(sequences, special=np.ones_like(sequences.special))
    with pytest.raises(DataError, match="none of the chosen samples has a token"):
        store = extract_activations(adapter, nothing, 0, tmp_path, dtype="float32", tokens_per_batch=256)
        list(store.content_of(np.arange(30), buffer_tokens=100).batches(64, seed=0))
    with pytest.raises(DataError, match="none of the chosen samples has a token"):
        StreamedActivations(adapter, nothing, np.arange(30), 0, buffer_tokens=100, tokens_per_batch=256)
