"""Nested dictionaries: the first features alone, then more of them, then all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from biosae.errors import SettingError

from .base import Forward
from .codes import Codes, Support


def prefix_widths(fractions: Sequence[float], d_sae: int) -> list[int]:
    """Number of features up to and with each group, from the groups' shares of ``d_sae``."""
    if not fractions or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise SettingError(f"group_fractions must be positive and sum to 1, got {list(fractions)}")
    widths = [round(d_sae * share) for share in accumulate(fractions)]
    if 0 in widths or len(set(widths)) < len(widths):
        raise SettingError(f"group_fractions {list(fractions)} leave a group of d_sae={d_sae} features empty")
    return widths


def nested_loss(forward: Forward, widths: Sequence[int], W_dec: Tensor, b_dec: Tensor) -> Tensor:
    """Mean over prefixes of the squared error of the reconstruction by the first ``width`` features."""
    reconstruction, losses = b_dec, []
    for group in decoded_groups(forward.codes, widths, W_dec):
        reconstruction = reconstruction + group
        losses.append(forward.error(reconstruction))
    return sum(losses) / len(losses)


def decoded_groups(codes: Codes, widths: Sequence[int], W_dec: Tensor) -> Sequence[Tensor]:
    """What each group of features adds to the reconstruction, ``(n_rows, d_in)`` each; differentiable.

    Sparse codes are decoded in one go, as if every row were as many rows as there are groups.
    """
    if codes.support is None:
        return [codes.values[:, start:stop] @ W_dec[start:stop] for start, stop in pairwise([0, *widths])]
    groups = torch.bucketize(codes.support.features, torch.tensor(widths, device=W_dec.device), right=True)
    rows = codes.support.rows * len(widths) + groups
    values, features = codes.values, codes.support.features
    if (rows.diff() < 0).any():
        order = rows.argsort(stable=True)
        rows, values, features = rows[order], values[order], features[order]
    counts = torch.bincount(rows, minlength=codes.n_rows * len(widths))
    by_group = Support(torch.nn.functional.pad(counts.cumsum(0), (1, 0)), features, codes.d_sae)
    return Codes(values, by_group).decode(W_dec).view(codes.n_rows, len(widths), -1).unbind(1)
