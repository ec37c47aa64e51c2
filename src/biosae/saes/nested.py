"""Nested dictionaries: the first features alone, then more of them, then all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from numbers import Real

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from biosae.errors import SettingError

from .base import Forward
from .codes import Codes, Support


def prefix_widths(fractions: Sequence[float], d_sae: int) -> list[int]:
    """Number of features up to and with each group, from the groups' shares of ``d_sae``."""
    are_shares = isinstance(fractions, Sequence) and all(isinstance(share, Real) and share > 0 for share in fractions)
    if not are_shares or abs(sum(fractions) - 1) > 1e-6:
        raise SettingError(f"group_fractions must be positive and sum to 1, got {fractions}")
    widths = [round(d_sae * share) for share in accumulate(fractions)]
    if 0 in widths or len(set(widths)) < len(widths):
        raise SettingError(f"group_fractions {list(fractions)} leave a group of d_sae={d_sae} features empty")
    return widths


def nested_loss(forward: Forward, widths: Sequence[int], W_dec: Tensor, b_dec: Tensor) -> Tensor:
    """Mean over prefixes of the squared error of the reconstruction by the first ``width`` features."""
    shards = forward.pre.shards
    groups = decoded_groups(forward.codes, shards.widths_here(widths, forward.codes.d_sae), shards.here(W_dec))
    groups = forward.over_features(groups)
    return _NestedError.apply(forward.x, shards.here(b_dec), groups, forward.token_unit) / (
        forward.n_tokens * groups.shape[1]
    )


class _NestedError(Function):
    """Sum of the squares of ``x - b_dec - groups[:, : g + 1].sum(1)`` over all ``g``, each passed over once."""

    @staticmethod
    def forward(ctx, x: Tensor, b_dec: Tensor, groups: Tensor, token_unit: Tensor | None) -> Tensor:
        residuals, left = torch.empty_like(groups), x - b_dec
        for number in range(groups.shape[1]):
            left = torch.sub(left, groups[:, number], out=residuals[:, number])
        if token_unit is not None:
            residuals.mul_(token_unit[:, None])
        ctx.save_for_backward(residuals, token_unit)
        return residuals.view(-1).dot(residuals.view(-1))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        residuals, token_unit = ctx.saved_tensors
        grad_groups = residuals * (-2 * grad if token_unit is None else -2 * grad * token_unit[:, None])
        for number in reversed(range(grad_groups.shape[1] - 1)):  # a group is part of all later prefixes
            grad_groups[:, number] += grad_groups[:, number + 1]
        return None, grad_groups[:, 0].sum(0), grad_groups, None


def decoded_groups(codes: Codes, widths: Sequence[int], W_dec: Tensor) -> Tensor:
    """What each group of features adds to the reconstruction, ``(n_rows, n_groups, d_in)``; differentiable.

    Sparse codes are decoded in one go, as if every row were as many rows as there are groups.
    """
    if codes.support is None:
        groups = pairwise([0, *widths])
        return torch.stack([codes.values[:, start:stop] @ W_dec[start:stop] for start, stop in groups], 1)
    groups = torch.bucketize(codes.support.features, torch.tensor(widths, device=W_dec.device), right=True)
    rows = codes.support.rows * len(widths) + groups
    values, features = codes.values, codes.support.features
    if (rows.diff() < 0).any():
        order = rows.argsort(stable=True)
        rows, values, features = rows[order], values[order], features[order]
    counts = torch.bincount(rows, minlength=codes.n_rows * len(widths))
    by_group = Support(torch.nn.functional.pad(counts.cumsum(0), (1, 0)), features, codes.d_sae)
    return Codes(values, by_group).decode(W_dec).view(codes.n_rows, len(widths), W_dec.shape[1])
