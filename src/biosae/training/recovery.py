"""Embedding recovery: the share of a sample's embedding that survives when the model reads the SAE's output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from biosae.activations.source import ActivationSource
from biosae.errors import DataError
from biosae.models.base import ModelAdapter
from biosae.models.parallel import each_batch
from biosae.models.tokens import TokenBatch, TokenSequences
from biosae.progress import progress_bar
from biosae.saes.base import SAE


def mean_activation(source: ActivationSource, n_tokens: int, seed: int) -> Tensor:
    """Return the ``(d_in,) float32`` mean of the first ``n_tokens`` or a few more activations, in shuffled order.

    All processes of a run call it, and each reads all of them.
    """
    total, count = torch.zeros(source.d_in, dtype=torch.float64), 0
    for x in source.batches(1024, seed):
        total += x.double().sum(0).cpu()
        count += len(x)
        if count >= n_tokens:
            break
    return (total / count).float()


def embedding_recovery(
    adapter: ModelAdapter,
    sequences: TokenSequences,
    samples: np.ndarray,
    layer: int,
    saes: Sequence[SAE],
    mean_activation: Tensor,
    tokens_per_batch: int = 16_384,
) -> list[dict[str, float]]:
    """Return ``recovery_vs_zero`` and ``recovery_vs_mean`` of each SAE: 1 is the unedited model, 0 the ablation.

    Each is ``1 - sum ||e - e_sae||^2 / sum ||e - e_ablated||^2`` over the samples' embeddings ``e``,
    where the activations after ``layer`` are replaced by the SAE's reconstruction, or by zero or
    their mean over training tokens. The mean is the stricter baseline.

    Parameters
    ----------
    mean_activation
        ``(d_model,)``.

    Raises
    ------
    DataError
        If no sample has a token.
    """
    ablations = [torch.zeros_like, lambda x: mean_activation.to(x).expand_as(x)]
    edits = [lambda x: x, *ablations, *(sae.forward for sae in saes)]

    def embedded(adapter: ModelAdapter, batch: TokenBatch) -> list[Tensor]:
        return adapter.embed_each(batch, layer, edits)

    distance = np.zeros(len(edits) - 1)
    samples = samples[sequences.lengths_of(samples) > 0]
    if len(samples) == 0:
        raise DataError("embedding recovery needs at least one sample with a token")
    with progress_bar("Embedding recovery", len(samples), "samples") as advance:
        for batch, embeddings in each_batch(adapter, sequences, samples, tokens_per_batch, embedded):
            original, *edited = embeddings
            distance += [(each - original).double().square().sum().item() for each in edited]
            advance(len(batch.sample))
    zero, mean, *of_saes = distance.tolist()
    return [{"recovery_vs_zero": 1 - each / zero, "recovery_vs_mean": 1 - each / mean} for each in of_saes]
