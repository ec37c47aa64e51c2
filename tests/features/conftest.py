from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from biosae.activations.store import ActivationShard
from biosae.saes.build import build

N_SAMPLES, D_IN, D_SAE, N_TYPES = 12, 6, 16, 20


@dataclass
class ToyStore:
    """Activations in memory with the interface of an ActivationStore; counts how often shards are read."""

    parts: list[ActivationShard]
    n_samples: int
    hash: str = "a" * 16

    @property
    def n_tokens(self):
        return sum(len(part) for part in self.parts)

    def shards(self):
        return iter(self.parts)

    @property
    def n_shards(self):
        return len(self.parts)

    def shard(self, index):
        return self.parts[index]


def make_shard(samples, seed):
    """Whole samples of 1 to 30 tokens each, the first of every sample special."""
    generator = np.random.default_rng(seed)
    sample = np.repeat(samples, generator.integers(2, 31, len(samples)))
    n = len(sample)
    special = np.diff(sample, prepend=-1) != 0
    return ActivationShard(
        values=torch.from_numpy(generator.normal(size=(n, D_IN))).to(torch.float16),
        token=torch.from_numpy(generator.integers(0, N_TYPES, n).astype(np.int32)),
        sample=torch.from_numpy(sample.astype(np.int64)),
        value=torch.from_numpy(generator.random(n).astype(np.float32)),
        special=torch.from_numpy(special),
    )


@pytest.fixture
def store():
    """Three shards of 12 samples; samples 0, 4 and 11 have no tokens."""
    return ToyStore([make_shard([1, 2, 3], 0), make_shard([5, 6, 7, 8], 1), make_shard([9, 10], 2)], N_SAMPLES)


@pytest.fixture
def sae():
    return build("topk", D_IN, D_SAE, {"k": 3}).eval()


@pytest.fixture
def obs():
    parts = np.array(["train", "validate", "select", "test"])[np.arange(N_SAMPLES) % 4]
    index = [f"cell{i}" for i in range(N_SAMPLES)]
    return pd.DataFrame({"biosae_part": pd.Categorical(parts)}, index=index)


@pytest.fixture
def vocabulary():
    identifiers = [f"ENSG{i:011d}" for i in range(N_TYPES)]
    return pd.DataFrame({"token": range(N_TYPES), "identifier": identifiers, "name": [f"G{i}" for i in range(N_TYPES)]})


@pytest.fixture
def provenance():
    return {"sae_hash": "b" * 16, "model": "toy", "layer": 1}


@pytest.fixture
def encoded(store, sae, obs, vocabulary, provenance, tmp_path):
    """The folder with token_codes/ and features.h5ad."""
    from biosae.features.encode import encode_features

    obsm = {"X_model": np.arange(N_SAMPLES * 2.0).reshape(N_SAMPLES, 2)}
    encode_features(sae, store, obs, vocabulary, tmp_path, provenance, obsm, batch_tokens=7)
    return tmp_path


@pytest.fixture
def dense(store, sae):
    """Sample, token, value and dense codes of all content tokens, encoded in one piece."""
    parts = list(store.shards())
    content = torch.cat([~part.special for part in parts])
    columns = [torch.cat([getattr(p, name) for p in parts])[content] for name in ("sample", "token", "value", "values")]
    sample, token, value, values = columns
    return sample.numpy(), token.numpy(), value.numpy(), sae.encode(values.float()).dense().numpy()
