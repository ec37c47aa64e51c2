"""Selections of codes from pre-activations that variants share."""

from __future__ import annotations

import torch
from torch import Tensor

from biosae.saes.codes import Codes
from biosae.saes.preactivations import PreActivations

from .straight_through import soft_mask


def positive(pre: PreActivations) -> Codes:
    """Return the positive entries (ReLU)."""
    support = pre.above(0.0)
    return Codes(torch.relu(pre.at(support)), support)


def above(pre: PreActivations, threshold: Tensor) -> Codes:
    """Return the entries above a threshold and above zero, unchanged."""
    lowest = threshold.to(pre.x.dtype).clamp(min=0)
    support = pre.above(lowest)
    values = pre.at(support)
    return Codes(values * (values > lowest), support)


def top_k(pre: PreActivations, k: int) -> Codes:
    """Return the ``k`` largest of every row, rectified (Gao et al. 2024, arXiv 2406.04093)."""
    support = pre.largest(k)
    return Codes(torch.relu(pre.at(support)), support)


def batch_top_k(pre: PreActivations, k: int) -> Codes:
    """Return the largest entries of the batch, ``k`` positive ones per row (Bussmann et al. 2024, arXiv 2412.06410)."""
    support = pre.largest_of_batch(k)
    return Codes(pre.at(support), support)


def gumbel_top_k(pre: PreActivations, k: int, noise: Tensor, seed: int, temperature: float = 0.0) -> Codes:
    """Return the ``k`` largest of every row after adding Gumbel noise, rectified and without the noise.

    In the backward pass the selection is a constant, or with a ``temperature`` above 0 a sigmoid around the boundary
    of the selection, taken for the ``2 k`` strongest candidates; further away its slope is negligible.
    """
    if not noise > 0:
        return top_k(pre, k)
    generator = torch.Generator(pre.x.device).manual_seed(seed)
    n_candidates = min(2 * k, pre.d_sae) if temperature else k
    drawn = []

    def choose(chunk: Tensor) -> tuple[Tensor, Tensor]:
        uniform = pre.batch.uniform(len(chunk), pre.d_sae, pre.x.dtype, generator)
        gumbel = -noise * torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        indices = (chunk + gumbel).topk(n_candidates).indices
        drawn.append(gumbel.gather(1, indices))
        return chunk.gather(1, indices), indices

    support = pre.search(choose)
    values = pre.at(support).view(-1, n_candidates)
    if not temperature:
        return Codes(torch.relu(values).view(-1), support)
    scores = values + torch.cat(drawn)
    boundary = scores[:, k - 1 : k + 1].detach().mean(1, keepdim=True)
    chosen = (torch.arange(n_candidates, device=scores.device) < k).expand_as(scores)
    return Codes((torch.relu(values) * soft_mask(scores, boundary, chosen, temperature)).view(-1), support)
