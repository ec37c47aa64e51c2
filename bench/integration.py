"""Time of one scoring by scib-metrics and label transfer, for 1,000 and 10,000 cells.

    python bench/integration.py

Planted embeddings of 128 dimensions, three batches, eight labels. The first scoring of a size compiles; every other
one of the same composition does not.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from biosae.benchmark.families import gene_family_scores, load_metrics
from biosae.benchmark.transfer import label_transfer

D, N_BATCHES, N_LABELS = 128, 3, 8


def planted(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embedding, batch and label of ``n`` cells."""
    generator = np.random.default_rng(seed)
    batch, label = np.arange(n) % N_BATCHES, np.arange(n) // N_BATCHES % N_LABELS
    embedding = generator.normal(size=(n, D))
    embedding[np.arange(n), label] += 4
    embedding[np.arange(n), N_LABELS + batch] += 2
    return embedding.astype(np.float32), batch.astype(str), label.astype(str)


def timed(work, *arguments) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.perf_counter() - wall, time.process_time() - cpu


def score(n: int, seed: int, with_kbet: bool) -> None:
    embedding, batch, label = planted(n, seed)
    gene_family_scores(embedding, embedding[:, :50], batch, label, with_kbet)
    label_transfer(embedding, batch, label, 15)


def main() -> None:
    print("import of scib-metrics: {:.1f} s wall, {:.1f} s CPU".format(*timed(load_metrics)))
    for with_kbet in (False, True):
        for n in (1_000, 10_000):
            for seed, which in enumerate(("first", "second")):
                wall, cpu = timed(score, n, seed, with_kbet)
                name = "with kBET" if with_kbet else "without kBET"
                print(f"{n:6,} cells, {name}, {which} scoring: {wall:.1f} s wall, {cpu:.1f} s CPU")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
