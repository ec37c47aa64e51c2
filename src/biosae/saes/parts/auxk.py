"""AuxK: dead features learn to reconstruct the residual of the living ones."""

from __future__ import annotations

import torch
from torch import Tensor

from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, squared_error
from biosae.saes.preactivations import PreActivations

from .selection import positive


def auxk_loss(forward: ForwardOutput, dead: Tensor, W_dec: Tensor) -> Tensor:
    """Return the error of the dead features' reconstruction of the residual, 1 when they predict its mean.

    The residual is detached and decoded without the decoder bias; at most ``d_in / 2`` dead features per token take
    part (Gao et al. 2024, arXiv 2406.04093, appendix A.2). Zero while no feature is dead.

    Parameters
    ----------
    dead
        ``(d_sae,) bool``.
    """
    features, target, batch = dead.nonzero().squeeze(1), forward.residual, forward.batch
    if len(features) == 0:
        return target.new_zeros(())
    mean = batch.sum(target.sum(0)) / forward.n_tokens
    variance = batch.sum(squared_error(target, mean.expand_as(target)))
    if not variance > 0:
        return target.new_zeros(())
    k = min(max(1, target.shape[1] // 2), len(features))
    codes = strongest(forward.pre.of(features), k)
    estimate = codes.decode(W_dec.index_select(0, features))
    return batch.sum(squared_error(target, estimate)) / variance


def strongest(pre: PreActivations, k: int) -> Codes:
    """Return the positive entries, at most the ``k`` largest of each row."""
    codes = positive(pre)
    if (codes.l0() <= k).all():
        return codes
    values, indices = torch.relu(pre.dense).topk(k, sorted=False)
    return Codes(torch.zeros_like(pre.dense).scatter(1, indices, values))
