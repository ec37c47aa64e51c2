"""Which pre-activations become codes: the rules that the variants share."""

from __future__ import annotations

import torch
from torch import Tensor

from .codes import Codes, Support
from .preactivations import PreActivations


def positive(pre: PreActivations) -> Codes:
    """ReLU."""
    return Codes(torch.relu(pre.dense))


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


def above(pre: PreActivations, threshold: Tensor | float) -> Codes:
    """Entries above ``threshold`` and above zero, unchanged; the threshold is a number or one a feature."""
    dense = pre.dense.detach()
    support = Support.from_mask((dense > threshold) & (dense > 0))
    return Codes(pre.at(support), support)
