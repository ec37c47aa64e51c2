"""Token activations computed while training reads them: no disk, one forward pass per epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from biosae.distributed.exchange import NO_EXCHANGE, RowExchange
from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import DataError
from biosae.models.base import ModelAdapter
from biosae.models.parallel import each_batch
from biosae.models.tokens import TokenBatch, TokenSequences

from .shuffle import RowBuffer, shuffled_batches
from .source import epoch_seed


class StreamedActivations:
    """Content tokens of some samples, straight from the model; an `ActivationSource`.

    Samples are taken in random order until a buffer of ``buffer_tokens`` rows is full; it is shuffled and used up
    before the next one is computed.

    Parameters
    ----------
    exchange
        Processes that compute the model's batches of a buffer in turn, and send each other the activations.
    """

    def __init__(
        self,
        adapter: ModelAdapter,
        sequences: TokenSequences,
        samples: np.ndarray,
        layer: int,
        buffer_tokens: int,
        tokens_per_batch: int = 16_384,
        exchange: RowExchange = NO_EXCHANGE,
    ):
        self.d_in = adapter.d_model
        self._adapter, self._sequences, self._layer = adapter, sequences, adapter.layer_index(layer)
        self._buffer_tokens, self._tokens_per_batch = buffer_tokens, tokens_per_batch
        self._exchange = exchange
        content = np.add.reduceat(np.append(~sequences.special, False), sequences.offsets[:-1], dtype=np.int64)
        self._n_content = np.where(sequences.lengths > 0, content, 0)
        self._samples = np.asarray(samples)[self._n_content[samples] > 0]
        self.n_tokens = int(self._n_content[self._samples].sum())
        if self.n_tokens == 0:
            raise DataError("none of the chosen samples has a token; see how many genes the model matched")

    def batches(
        self, batch_size: int, seed: int, epoch: int = 0, start: int = 0, group: ReplicaGroup = SINGLE
    ) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = self._samples[torch.randperm(len(self._samples), generator=generator).numpy()]
        filled = np.cumsum(self._n_content[order]) // self._buffer_tokens
        parts = np.split(order, np.flatnonzero(np.diff(filled)) + 1)
        return shuffled_batches(map(self._buffer, parts), batch_size, generator, start, group=group)

    def _buffer(self, samples: np.ndarray) -> RowBuffer:
        return RowBuffer(int(self._n_content[samples].sum()), lambda wanted: self._read(samples, wanted))

    def _read(self, samples: np.ndarray, wanted: Tensor) -> Tensor:
        group = self._exchange.group
        batches = list(self._adapter.batched(self._sequences, samples, self._tokens_per_batch))
        owner = np.arange(len(batches)) % group.size
        n_rows = [self._n_content[batch].sum() for batch in batches]
        own = batches[group.rank :: group.size]
        rows = torch.cat([torch.empty(0, self.d_in), *(self._rows(np.concatenate(own)) if own else ())])
        return self._exchange.fetch(rows, torch.from_numpy(owner.repeat(n_rows)), wanted)

    def _rows(self, samples: np.ndarray) -> Iterator[Tensor]:
        def content(adapter: ModelAdapter, batch: TokenBatch) -> Tensor:
            (hidden,) = adapter.activations(batch, [self._layer])
            return hidden[batch.content[batch.mask]].cpu()

        found = each_batch(self._adapter, self._sequences, samples, self._tokens_per_batch, content)
        return (rows for _, rows in found)
