"""Many batches through a model: one batch per thread on a processor; on a GPU the next ones are prepared meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from .base import ModelAdapter
from .tokens import TokenBatch, TokenSequences

T = TypeVar("T")
Work = Callable[[ModelAdapter, TokenBatch], T]


def each_batch(
    adapter: ModelAdapter, sequences: TokenSequences, samples: np.ndarray, tokens_per_batch: int, work: Work[T]
) -> Iterator[tuple[TokenBatch, T]]:
    """Yield every batch and the result of ``work(adapter, batch)``, in the order of `ModelAdapter.batches`.

    On a processor each of torch's threads has a batch and a twin of the adapter to itself: threads that
    share one product wait for the slowest of them after every operation.
    On a GPU a thread pads the next batches and sends them while the model runs.
    """
    batches, n_threads = adapter.batches(sequences, samples, tokens_per_batch), torch.get_num_threads()
    if adapter.device.type == "cpu" and n_threads > 1:
        yield from _one_per_thread(adapter, batches, work, n_threads)
        return
    for batch in batches if adapter.device.type == "cpu" else _prepared(batches):
        yield batch, work(adapter, batch)


def _one_per_thread(
    adapter: ModelAdapter, batches: Iterator[TokenBatch], work: Work[T], n_threads: int
) -> Iterator[tuple[TokenBatch, T]]:
    own = threading.local()

    def start() -> None:
        torch.set_num_threads(1)
        own.adapter = adapter.twin()

    def run(batch: TokenBatch) -> tuple[TokenBatch, T]:
        return batch, work(own.adapter, batch)

    waiting: deque = deque()
    try:
        with ThreadPoolExecutor(n_threads, initializer=start) as pool:
            for batch in batches:
                waiting.append(pool.submit(run, batch))
                if len(waiting) > n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(n_threads)  # what later threads start with; this one never had another number


def _prepared(batches: Iterator[TokenBatch], n_ahead: int = 2) -> Iterator[TokenBatch]:
    """Yield the same batches, prepared ahead by another thread."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, batches, None) for _ in range(n_ahead))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, batches, None))
            yield batch
