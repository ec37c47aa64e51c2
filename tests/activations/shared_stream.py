"""Streamed activations alone and in the processes of torchrun: `torchrun -m activations.shared_stream OUT`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from biosae.activations.shuffle import one_ahead
from biosae.activations.stream import StreamedActivations
from biosae.distributed.exchange import row_exchange
from biosae.distributed.processes import SINGLE, ReplicaGroup, current_group, hard_exit, init_distributed
from biosae.errors import DataError
from biosae.models.tokens import TokenSequences
from biosae.saes.variants.topk import TopK
from biosae.training.settings import TrainerSettings
from biosae.training.trainer import Trainer, TrainingRun

from .shared_extraction import Attentive

SETTINGS = TrainerSettings(lr=3e-3, epochs=2, batch_size=40, eval_every=4, normaliser_tokens=60)

READS = {
    "shares": (16, 0, 0, 300, True),
    "from the middle": (16, 1, 11, 300, True),
    "batches across buffers": (130, 0, 1, 100, True),
    "one batch of the model a buffer": (16, 0, 0, 1, True),
    "all rows": (16, 0, 0, 300, False),
    "all rows from the middle": (50, 2, 3, 300, False),
}
"""Name: batch size, epoch, start, tokens in a buffer, whether each process takes its share."""


class Counting(Attentive):
    """Keeps which samples it read; `after` so many batches it fails."""

    def __init__(self, after: int | None = None):
        super().__init__()
        self.samples: list[int] = []
        self._left = after

    def run(self, batch):
        self.samples += batch.sample.tolist()
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise DataError("the model is out of memory")
        return super().run(batch)


def draw() -> TokenSequences:
    """40 samples of 1 to 40 tokens after a special one."""
    generator = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(generator.integers(2, 42, 40))])
    special = np.zeros(offsets[-1], dtype=bool)
    special[offsets[:-1]] = True
    token = generator.integers(1, 50, offsets[-1]).astype(np.int32)
    return TokenSequences(token, np.ones(len(token), np.float32), special, offsets)


def source(name: str, adapter: Counting, samples: range = range(30), buffer_tokens: int = 300) -> StreamedActivations:
    return StreamedActivations(adapter, draw(), np.array(samples), 0, buffer_tokens, 64, row_exchange(name))


def read(name: str, group: ReplicaGroup) -> tuple[list[Tensor], list[int]]:
    """Batches, and the samples that the model read for them."""
    batch_size, epoch, start, buffer_tokens, is_shared = READS[name]
    adapter, takers = Counting(), group if is_shared else SINGLE
    stream = source("read", adapter, buffer_tokens=buffer_tokens)
    return list(stream.batches(batch_size, 3, epoch, start, takers)), adapter.samples


def train(folder: Path, group: ReplicaGroup) -> list[int]:
    """Leaves an SAE in ``folder`` and gives the samples that the model read."""
    torch.manual_seed(0)
    sae, adapter = TopK(8, 18, k=3), Counting()
    training, validation = source("train", adapter), source("validate", adapter, range(30, 40))
    Trainer([TrainingRun(sae, SETTINGS, folder)], training, validation, seed=4, group=group).run()
    return adapter.samples


def ahead(stream: StreamedActivations, group: ReplicaGroup) -> Iterator[Tensor]:
    """An epoch of batches, the next one read by a thread."""
    batches = stream.batches(16, 3, group=group)
    return one_ahead(partial(next, batches) for _ in range(-(-stream.n_tokens // 16)))


def read_by_threads(group: ReplicaGroup) -> Tensor:
    """Every fourth batch of one source is followed by an epoch of another; threads read both while this one sums."""
    seen = []

    training, validation = source("train", Counting()), source("validate", Counting(), range(30, 40), 100)
    for number, x in enumerate(ahead(training, group)):
        seen.append(group.all_reduce_sum(x.double().sum(0)))
        if number % 4 == 0:
            seen += [group.all_reduce_sum(y.double().sum(0)) for y in ahead(validation, group)]
        if number == 9:  # patience
            break
    return torch.stack(seen)


def fail(group: ReplicaGroup) -> None:
    """The second process's model fails in the third buffer while the first one waits for its activations."""
    stream = source("read", Counting(after=None if group.is_first else 7))
    for x in ahead(stream, group):
        group.all_reduce_sum(x.sum(0))


def main(out: Path) -> None:
    group = current_group()
    for name in READS:
        batches, samples = read(name, group)
        state = {f"{i:03}": x.contiguous() for i, x in enumerate(batches)} | {"samples": torch.tensor(samples)}
        save_file(state, out / f"{name}-{group.rank}.safetensors")
    samples = train(out / "trained", group)
    save_file({"samples": torch.tensor(samples)}, out / f"trained-{group.rank}.safetensors")
    save_file({"sums": read_by_threads(group)}, out / f"threads-{group.rank}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with init_distributed():
        fail(current_group()) if sys.argv[1] == "fail" else main(Path(sys.argv[1]))
    hard_exit()
