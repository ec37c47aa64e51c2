"""Encoding tokens into sparse features: time, size on disk, memory, and reading one feature's top tokens.

    python bench/features.py

Cells of 4,096 tokens, 10 of 512 features active in each. Two data sets, one four times the other: time and size must
grow fourfold and memory must not. Made-up activations (d_in 128), one core, CPU seconds. Writes into a temporary
folder.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch

from biosae.activations.store import ActivationShard
from biosae.features.encode import encode_features
from biosae.features.token_codes import TokenCodes
from biosae.saes.build import build

D_IN, D_SAE, K, N_GENES = 128, 512, 10, 5_000
TOKENS_PER_SHARD, TOKENS_PER_CELL = 131_072, 4_096
N_READS = 50


@dataclass(frozen=True)
class MadeUpStore:
    """Random activations, drawn shard by shard, with the interface of an ActivationStore."""

    n_shards: int
    hash: str = "made-up"

    @property
    def n_tokens(self) -> int:
        return self.n_shards * TOKENS_PER_SHARD

    @property
    def n_samples(self) -> int:
        return self.n_tokens // TOKENS_PER_CELL

    def shard(self, number: int) -> ActivationShard:
        generator = torch.Generator().manual_seed(number)
        tokens = torch.arange(TOKENS_PER_SHARD) + number * TOKENS_PER_SHARD
        return ActivationShard(
            values=torch.randn(TOKENS_PER_SHARD, D_IN, generator=generator).half(),
            token=torch.randint(0, N_GENES, (TOKENS_PER_SHARD,), generator=generator).int(),
            sample=tokens // TOKENS_PER_CELL,
            value=torch.rand(TOKENS_PER_SHARD, generator=generator),
            special=torch.zeros(TOKENS_PER_SHARD, dtype=torch.bool),
        )


def main() -> None:
    torch.set_num_threads(1)
    sae = build("topk", D_IN, D_SAE, {"k": K}).eval()
    sae.encode(torch.randn(1024, D_IN))  # compiles the search, if it is compiled
    for n_shards in (2, 8):
        with tempfile.TemporaryDirectory() as folder:
            print(_measure(sae, MadeUpStore(n_shards), Path(folder)))


def _measure(sae, store: MadeUpStore, folder: Path) -> str:
    names = [f"G{g}" for g in range(N_GENES)]
    vocabulary = pd.DataFrame({"token": range(N_GENES), "identifier": names, "name": names})
    obs = pd.DataFrame({"biosae_part": "test"}, index=[f"cell{c}" for c in range(store.n_samples)])
    start = time.process_time()
    encode_features(sae, store, obs, vocabulary, folder, {"sae_hash": "0", "model": "made-up", "layer": 0}, {})
    seconds = time.process_time() - start
    codes = TokenCodes(folder / "token_codes")
    size = sum(path.stat().st_size for path in codes.folder.iterdir())
    dense = 4 * store.n_tokens * D_SAE
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    for feature in np.linspace(0, D_SAE - 1, N_READS, dtype=int):
        codes.top(int(feature), 20)
    read = (time.process_time() - start) / N_READS
    return (
        f"{store.n_tokens:>9,} tokens: {seconds:5.1f} CPU s ({store.n_tokens / seconds:,.0f} tokens/s), "
        f"{size / codes.nnz:.1f} bytes a code, {dense / size:.0f} times less than dense, "
        f"peak memory {memory:,.0f} MB, top 20 tokens in {1000 * read:.1f} ms"
    )


if __name__ == "__main__":
    main()
