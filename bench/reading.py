"""What it costs a process to read its share of an epoch, as one of 1, 2, 4 or 8 that share every batch.

    python bench/reading.py [--d-in 256 1152] [--tokens 600000]

Random activations in float16, in the system's cache, checksums verified before. Nothing is trained and nothing is sent:
one process reads what the first of so many would read. CPU seconds, the thread that reads ahead included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from waiting import BATCH, BUFFER, random_store

from biosae.activations.store import ActivationStore
from biosae.distributed.processes import ReplicaGroup


def read(store: ActivationStore, n_processes: int) -> float:
    """CPU seconds of an epoch."""
    source = store.content_of(np.arange(store.n_samples), BUFFER)
    start = time.process_time()
    for _ in source.batches(BATCH, seed=0, group=ReplicaGroup(0, n_processes)):
        pass
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d-in", type=int, nargs="+", default=[256, 1152])
    parser.add_argument("--tokens", type=int, default=600_000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| d_in | processes | CPU s of each | million tokens a second, all together |\n|---|---|---|---|")
    for d_in in chosen.d_in:
        with tempfile.TemporaryDirectory() as folder:
            store = random_store(Path(folder), chosen.tokens, d_in)
            read(store, 1)  # verifies, and warms the cache
            for n in (1, 2, 4, 8):
                seconds = min(read(store, n) for _ in range(3))
                print(f"| {d_in} | {n} | {seconds:.2f} | {chosen.tokens / seconds / 1e6:.1f} |", flush=True)


if __name__ == "__main__":
    main()
