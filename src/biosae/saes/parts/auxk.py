"""A second chance for silent features: they learn to reconstruct what the others left over."""

from __future__ import annotations

import torch
from torch import Tensor

from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, squared_error
from biosae.saes.preactivations import PreActivations

from .selection import positive, top_k


def auxk_loss(forward: ForwardOutput, dead: Tensor, W_dec: Tensor) -> Tensor:
    """Error of the dead features' reconstruction of the residual, 1 when they predict its mean.

    The residual is detached and decoded without the decoder bias; at most ``d_in / 2`` dead features
    take part in a row (Gao et al. 2024, arXiv 2406.04093, appendix A.2). Zero while no feature is dead.

    Parameters
    ----------
    dead
        ``(d_sae,) bool``, or of the features here.
    """
    features, shards = dead.nonzero().squeeze(1), forward.pre.shards
    target, n_dead = forward.residual, shards.ranks.count(len(features))
    if n_dead == 0:
        return target.new_zeros(())
    mean = forward.ranks.total(target.sum(0)) / forward.n_tokens
    variance = forward.ranks.total(squared_error(target, mean.expand_as(target), 1))
    if not variance > 0:
        return target.new_zeros(())
    k = min(max(1, target.shape[1] // 2), n_dead)
    codes = strongest(forward.pre.of(features), k)
    estimate = shards.total(codes.decode(shards.here(W_dec).index_select(0, features)))
    return squared_error(target, estimate, 1) / variance


def strongest(pre: PreActivations, k: int) -> Codes:
    """The positive entries, at most the ``k`` largest of a row."""
    if not pre.shards.is_whole:
        return top_k(pre, k)
    codes = positive(pre)
    if (codes.l0() <= k).all():
        return codes
    values, indices = torch.relu(pre.dense).topk(k, sorted=False)
    return Codes(torch.zeros_like(pre.dense).scatter(1, indices, values))
