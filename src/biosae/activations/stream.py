"""Token activations computed while training reads them: no disk, one forward pass an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from biosae.errors import DataError
from biosae.models.base import ModelAdapter
from biosae.models.parallel import each_batch
from biosae.models.tokens import TokenBatch, TokenSequences
from biosae.ranks import ALONE, Ranks

from .shuffle import RowGroup, shuffled_batches
from .source import epoch_seed


class StreamedActivations:
    """Content tokens of some samples, straight from the model; an `ActivationSource`.

    Samples are taken in random order until a buffer of ``buffer_tokens`` rows is full; it is
    shuffled and handed out while the next one is not yet computed.
    """

    def __init__(
        self,
        adapter: ModelAdapter,
        sequences: TokenSequences,
        samples: np.ndarray,
        layer: int,
        buffer_tokens: int,
        tokens_per_batch: int = 16_384,
    ):
        self.d_in = adapter.d_model
        self._adapter, self._sequences, self._layer = adapter, sequences, adapter.layer_index(layer)
        self._buffer_tokens, self._tokens_per_batch = buffer_tokens, tokens_per_batch
        content = np.add.reduceat(np.append(~sequences.special, False), sequences.offsets[:-1], dtype=np.int64)
        self._n_content = np.where(sequences.lengths > 0, content, 0)
        self._samples = np.asarray(samples)[self._n_content[samples] > 0]
        self.n_tokens = int(self._n_content[self._samples].sum())
        if self.n_tokens == 0:
            raise DataError("none of the chosen samples has a token; see how many genes the model matched")

    def batches(
        self, batch_size: int, seed: int, epoch: int = 0, start: int = 0, ranks: Ranks = ALONE
    ) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = self._samples[torch.randperm(len(self._samples), generator=generator).numpy()]
        filled = np.cumsum(self._n_content[order]) // self._buffer_tokens
        groups = np.split(order, np.flatnonzero(np.diff(filled)) + 1)
        return shuffled_batches(map(self._group, groups), batch_size, generator, start, ranks=ranks)

    def _group(self, samples: np.ndarray) -> RowGroup:
        return RowGroup(int(self._n_content[samples].sum()), lambda wanted: self._read(samples)[wanted])

    def _read(self, samples: np.ndarray) -> Tensor:
        def content(adapter: ModelAdapter, batch: TokenBatch) -> Tensor:
            (hidden,) = adapter.activations(batch, [self._layer])
            return hidden[batch.content[batch.mask]].cpu()

        found = each_batch(self._adapter, self._sequences, samples, self._tokens_per_batch, content)
        return torch.cat([rows for _, rows in found])
