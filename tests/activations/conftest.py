import numpy as np
import pytest
import torch
from torch import nn

from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences


class _Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(50, 6)
        self.layers = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])

    def forward(self, token):
        hidden = self.embedding(token)
        for layer in self.layers:
            hidden = torch.tanh(layer(hidden))
        return hidden


class ToyAdapter(ModelAdapter):
    """Two token-wise layers: the activation of a token depends on its id alone."""

    name, d_model, n_layers, pad_token, fingerprint = "toy", 6, 2, 0, "f" * 16

    def __init__(self):
        self.network = _Network().eval()
        self.vocabulary = self.token_names = np.arange(50).astype(str)
        self._forwards = []  # shared with twins on other threads

    @property
    def n_forward(self):
        return len(self._forwards)

    def tokenize(self, samples):
        return samples

    def site(self, layer):
        return self.network.layers[layer]

    def run(self, batch):
        self._forwards.append(batch.sample)
        return self.network(batch.token)


@pytest.fixture
def adapter():
    return ToyAdapter()


@pytest.fixture
def sequences():
    """30 samples of 0 to 40 tokens; the first token of each is special. Sample 3 and the last are empty."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 41, 30)
    lengths[[3, 29]] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n = offsets[-1]
    special = np.zeros(n, dtype=bool)
    special[offsets[:-1][lengths > 0]] = True
    token = generator.integers(1, 50, n).astype(np.int32)
    return TokenSequences(token, generator.random(n).astype(np.float32), special, offsets)


@pytest.fixture
def expected(adapter, sequences):
    """Activations after layer 0 of all tokens, computed without padding or batching."""
    with torch.no_grad():
        return adapter.network.layers[0](adapter.network.embedding(torch.from_numpy(sequences.token).long()))
