"""Extraction and encoding, shard by shard: `python -m torch.distributed.run shared_extraction.py OUT`, or called."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from biosae.activations.extract import extract_activations
from biosae.distributed.processes import ReplicaGroup, current_group, hard_exit, init_distributed
from biosae.features.encode import encode_features
from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences
from biosae.saes.variants.topk import TopK


class Attentive(ModelAdapter):
    """One self-attention layer, so that a token's activation depends on its sample."""

    name, d_model, n_layers, pad_token, fingerprint = "attentive", 8, 1, 0, "a" * 16

    def __init__(self):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.network = nn.ModuleDict({"embedding": nn.Embedding(50, 8), "layer": layer}).eval()
        self.vocabulary = self.token_names = np.arange(50).astype(str)

    def tokenize(self, samples):
        return samples

    def site(self, layer):
        return self.network["layer"]

    def run(self, batch):
        return self.network["layer"](self.network["embedding"](batch.token), src_key_padding_mask=~batch.mask)


def work(out: Path, group: ReplicaGroup) -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 41, 30)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    special = np.zeros(offsets[-1], dtype=bool)
    special[offsets[:-1]] = True
    token = generator.integers(1, 50, offsets[-1]).astype(np.int32)
    sequences = TokenSequences(token, generator.random(len(token)).astype(np.float32), special, offsets)
    store = extract_activations(
        Attentive(), sequences, 0, out / "store", tokens_per_batch=64, tokens_per_shard=170, group=group
    )
    obs = pd.DataFrame({"biosae_part": pd.Categorical(["train", "test"] * 15)}, index=[f"cell{i}" for i in range(30)])
    names = pd.DataFrame({"token": range(50), "identifier": "", "name": ""})
    about = {"sae_hash": "b" * 16, "model": "attentive", "layer": 0}
    encode_features(TopK(8, 16, k=3), store, obs, names, out, about, {}, group=group)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with init_distributed():
        work(Path(sys.argv[1]), current_group())
    hard_exit()
