"""A model of two layers whose embeddings can be worked out by hand, an SAE of its first, and a feature table."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import nn

from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences
from biosae.saes.variants.standard import Standard
from biosae.saes.variants.topk import TopK
from biosae.steering.context import SteeringContext

D, D_SAE = 6, 16
LENGTHS = [4, 0, 5, 6, 3, 2, 4, 5]


class Curved(ModelAdapter):
    """Layer 0 embeds, layer 1 bends, so that an edit of layer 0 is not simply added to the embedding."""

    name, d_model, n_layers, pad_token, fingerprint = "curved", D, 2, 0, "0" * 16

    def __init__(self):
        torch.manual_seed(0)
        self.network = nn.ModuleDict({"first": nn.Embedding(40, D), "second": nn.Tanh()}).eval().requires_grad_(False)

    def tokenize(self, samples):
        return samples

    def site(self, layer):
        return self.network["first" if layer == 0 else "second"]

    def run(self, batch):
        return self.network["second"](self.network["first"](batch.token))


@pytest.fixture
def adapter():
    return Curved()


@pytest.fixture
def sequences():
    """Eight samples; the second is empty."""
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    n = int(offsets[-1])
    token = np.arange(1, n + 1, dtype=np.int32)
    return TokenSequences(token, np.ones(n, np.float32), np.zeros(n, bool), offsets)


@pytest.fixture(params=["sparse", "dense"])
def sae(request, adapter):
    """One SAE whose codes are stored sparse and one where nearly all features fire."""
    variant = TopK(D, D_SAE, k=3) if request.param == "sparse" else Standard(D, D_SAE, l1_coefficient=0.1)
    variant.fit_normaliser(adapter.network["first"].weight)
    return variant.eval()


@pytest.fixture
def x(adapter):
    """Activations of layer 0."""
    return adapter.network["first"].weight.clone()


def make_table(codes, obs, n_tokens, x_model=None):
    """A feature table from dense mean codes, with a largest code of twice the mean."""
    n, d_sae = codes.shape
    layers = {
        "mean": sparse.csr_matrix(codes, dtype=np.float32),
        "sum": sparse.csr_matrix(codes * n_tokens[:, None], dtype=np.float32),
        "fraction_active": sparse.csr_matrix((codes > 0) * 0.5, dtype=np.float32),
    }
    obs = pd.DataFrame(obs, index=[f"s{i}" for i in range(n)]).assign(biosae_n_tokens=n_tokens)
    var = pd.DataFrame(index=[f"f{j}" for j in range(d_sae)])
    x = sparse.csr_matrix(2 * codes, dtype=np.float32)
    table = anndata.AnnData(x, obs=obs, var=var, layers=layers)
    if x_model is not None:
        table.obsm["X_model"] = x_model.astype(np.float32)
    return table


@pytest.fixture
def make_context(adapter, tmp_path):
    """A context in an empty run folder, of layer 0."""

    def make(sae, sequences, table, tokens_per_batch=4096, label_keys=(), batch_key=None):
        folders = {"folder": tmp_path, "cache": tmp_path / "cache", "features_hash": "f"}
        columns = {"label_keys": label_keys, "batch_key": batch_key}
        return SteeringContext(adapter, sae, sequences, table, 0, tokens_per_batch, **folders, **columns)

    return make


@pytest.fixture
def context_of(make_context):
    """The context of a feature table, without a model."""
    return lambda table: make_context(None, None, table)


@pytest.fixture
def table():
    """120 samples of two batches; feature 0 marks batch b on all parts, feature 1 on test alone, feature 2 is dead."""
    generator = np.random.default_rng(0)
    n = 120
    part = np.repeat(["train", "select", "test", "validate"], 30)
    batch = np.tile(["a", "b"], 60)
    codes = generator.uniform(0.1, 1.0, (n, 12)) * (generator.random((n, 12)) < 0.4)
    codes[:, 0] = np.where(batch == "b", 1.0, 0.0)
    codes[:, 1] = np.where((batch == "b") & (part == "test"), 5.0, 0.5)
    codes[:, 2] = 0
    x_model = generator.normal(size=(n, 4)) + np.where(batch == "b", 3.0, 0.0)[:, None] * np.array([1, 0, 0, 0])
    return make_table(codes, {"biosae_part": part, "batch": batch}, np.full(n, 10), x_model)
