"""How long training waits for activations from a store on disk, with the next buffer read ahead and without.

    python bench/waiting.py [--d-in 512] [--tokens 600000] [--device cpu] [--threads 1]

Random activations are stored as an extraction stores them, float16, and read once by a TopK SAE eight times as wide
that learns from them. Checksums are verified before the clock starts. Waiting is the time inside ``next(batches)``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file

from biosae.activations import store as stored
from biosae.artefacts import content_hash, write_json
from biosae.distributed.processes import ReplicaGroup
from biosae.saes.build import build
from biosae.training.settings import TrainerSettings
from biosae.training.train_state import TrainState

PER_SAMPLE, PER_SHARD, BUFFER, BATCH = 256, 1 << 17, 1 << 17, 2048


def random_store(folder: Path, n_tokens: int, d_in: int) -> stored.ActivationStore:
    """A store of samples of 256 tokens."""
    shards = []
    for number, first in enumerate(range(0, n_tokens, PER_SHARD)):
        n, path = min(PER_SHARD, n_tokens - first), folder / f"shard-{number:05d}.safetensors"
        tensors = {
            "values": torch.randn(n, d_in).half(),
            "token": torch.zeros(n, dtype=torch.int32),
            "sample": torch.arange(first, first + n) // PER_SAMPLE,
            "value": torch.zeros(n),
            "special": torch.zeros(n, dtype=torch.bool),
        }
        save_file(tensors, path)
        shards.append({"name": path.name, "n_tokens": n, "bytes": path.stat().st_size, "hash": content_hash(path)})
    manifest = {"format": stored.FORMAT, "d_in": d_in, "n_samples": -(-n_tokens // PER_SAMPLE), "shards": shards}
    write_json(folder / stored.MANIFEST, manifest)
    return stored.ActivationStore(folder)


def trained(store: stored.ActivationStore, device: str, reads_ahead: bool) -> tuple[float, float]:
    """Seconds of one epoch, and seconds of them that were waited."""
    source = store.content_of(np.arange(store.n_samples), BUFFER)
    sae = build("topk", store.d_in, 8 * store.d_in, {"k": 32}, seed=0).to(device)
    sae.fit_normaliser(torch.randn(4096, store.d_in, device=device))
    settings = TrainerSettings(lr=1e-3, epochs=1, batch_size=BATCH)
    learner = TrainState(sae, settings, source.n_tokens // BATCH, source.n_tokens)
    with mock.patch.object(stored, "shuffled_batches", partial(_batches, reads_ahead)):
        batches, waited, start = source.batches(BATCH, seed=0), 0.0, time.perf_counter()
        while True:
            before = time.perf_counter()
            x = next(batches, None)
            waited += time.perf_counter() - before
            if x is None or len(x) < BATCH:
                return time.perf_counter() - start, waited
            learner.step(x.to(device))
            if device != "cpu":
                torch.cuda.synchronize()


def _batches(ahead: bool, *arguments: object, reads_ahead: bool, group: ReplicaGroup) -> object:
    from biosae.activations.shuffle import shuffled_batches

    return shuffled_batches(*arguments, reads_ahead=ahead, group=group)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d-in", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=600_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| next buffer | an epoch | waited | share |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder), arguments.tokens, arguments.d_in)
        for name, ahead in (("read when needed", False), ("read ahead", True)):
            seconds, waited = trained(store, arguments.device, ahead)
            print(f"| {name} | {seconds:.1f} s | {waited:.2f} s | {waited / seconds:.1%} |", flush=True)


if __name__ == "__main__":
    main()
