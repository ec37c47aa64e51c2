"""Sources of activations for training and evaluation: one iterator over batches for every kind of storage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import DataError


class ActivationSource(Protocol):
    """Token activations in a shuffled order, determined by the seed and the epoch alone.

    All processes of a run request the same batches in the same order, so that a source may divide the work of
    computing them.

    Attributes
    ----------
    d_in
        Width of an activation.
    n_tokens
        Activations in one epoch; ``batches`` yields each exactly once.
    """

    d_in: int
    n_tokens: int

    def batches(
        self, batch_size: int, seed: int, epoch: int = 0, start: int = 0, group: ReplicaGroup = SINGLE
    ) -> Iterator[Tensor]:
        """Yield ``(batch_size, d_in) float32`` batches; the last of an epoch may be smaller.

        Parameters
        ----------
        start
            Number of batches to skip without reading, for resuming.
        group
            Processes that share every batch: each gets the rows of `shard_rows`.
        """
        ...


class ArrayActivations:
    """Activations held in memory, for example given embeddings.

    Parameters
    ----------
    values
        ``(n_tokens, d_in)`` finite numbers.
    """

    def __init__(self, values: Tensor):
        if values.ndim != 2 or 0 in values.shape:
            raise DataError(f"activations must be a non-empty (n_tokens, d_in) matrix, got shape {tuple(values.shape)}")
        if not torch.isfinite(values).all():
            raise DataError("activations contain NaN or infinite values")
        self.values = values

    @property
    def d_in(self) -> int:
        return self.values.shape[1]

    @property
    def n_tokens(self) -> int:
        return self.values.shape[0]

    def batches(
        self, batch_size: int, seed: int, epoch: int = 0, start: int = 0, group: ReplicaGroup = SINGLE
    ) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = torch.randperm(self.n_tokens, generator=generator)
        for rows in order.split(batch_size)[start:]:
            yield self.values[group.shard_rows(rows)].float()


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of an epoch of a run."""
    return seed * 1_000_003 + epoch
