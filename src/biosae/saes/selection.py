"""Which pre-activations become codes: the rules that the variants share."""

from __future__ import annotations

import torch
from torch import Tensor

from .codes import Codes, Support
from .preactivations import PreActivations
from .straight_through import soft_mask


def positive(pre: PreActivations) -> Codes:
    """ReLU."""
    support = pre.above(0.0)
    return Codes(torch.relu(pre.at(support)), support)


def top_k(pre: PreActivations, k: int) -> Codes:
    """The ``k`` largest of every row, rectified (Gao et al. 2024, arXiv 2406.04093)."""
    indices = pre.dense.detach().topk(k, sorted=False).indices
    support = Support.from_indices(indices, pre.d_sae)
    return Codes(torch.relu(pre.at(support)), support)


def batch_top_k(pre: PreActivations, k: int) -> Codes:
    """The ``k * n_rows`` largest positive entries of the batch (Bussmann et al. 2024, arXiv 2412.06410)."""
    flat = pre.dense.detach().reshape(-1)
    kept = flat.topk(min(k * pre.n_rows, len(flat)), sorted=False).indices
    support = Support.from_positions(kept[flat[kept] > 0].sort().values, pre.n_rows, pre.d_sae)
    return Codes(pre.at(support), support)


def gumbel_top_k(pre: PreActivations, k: int, noise: Tensor, seed: int) -> Codes:
    """The ``k`` largest of every row after adding Gumbel noise, rectified and without the noise.

    Backward, the choice is a sigmoid around the boundary between chosen and not chosen, taken for
    the ``2 k`` strongest candidates; further away its slope is negligible.
    """
    if not noise > 0:
        return top_k(pre, k)
    generator = torch.Generator(pre.inputs.device).manual_seed(seed)
    uniform = torch.rand(pre.n_rows, pre.d_sae, generator=generator, device=pre.inputs.device)
    gumbel = -noise * torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
    noisy = pre.dense.detach() + gumbel
    n_candidates = min(2 * k, pre.d_sae)
    scores, indices = noisy.topk(n_candidates)
    boundary = scores[:, k - 1 : k + 1].mean(1, keepdim=True)
    support = Support.from_indices(indices, pre.d_sae)
    values = pre.at(support).view(pre.n_rows, n_candidates)
    chosen = (torch.arange(n_candidates, device=scores.device) < k).expand_as(scores)
    scores = values + gumbel.gather(1, indices)
    return Codes((torch.relu(values) * soft_mask(scores, boundary, chosen, noise)).reshape(-1), support)


def above(pre: PreActivations, threshold: Tensor | float) -> Codes:
    """Entries above ``threshold`` and above zero, unchanged; the threshold is a number or one a feature."""
    dense = pre.dense.detach()
    support = Support.from_mask((dense > threshold) & (dense > 0))
    return Codes(pre.at(support), support)
