"""Nested dictionaries: the first features alone, then more of them, then all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise, repeat
from numbers import Real
from typing import Annotated

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from biosae.errors import SettingError
from biosae.ops import sparse_products
from biosae.ops.linear import linear
from biosae.ops.support import Support
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput

CHUNK_VALUES = 1 << 18
"""Numbers of what the groups add that are worked on at a time: 1 MB, so that they stay in the cache."""


def prefix_widths(fractions: Sequence[float], d_sae: int) -> list[int]:
    """Return the cumulative number of features of the groups, given their shares of ``d_sae``."""
    are_shares = isinstance(fractions, Sequence) and all(isinstance(share, Real) and share > 0 for share in fractions)
    if not are_shares or abs(sum(fractions) - 1) > 1e-6:
        message = f"group_fractions must be positive and sum to 1, got {fractions}"
        raise SettingError(message, argument="group_fractions")
    widths = [round(d_sae * share) for share in accumulate(fractions)]
    if 0 in widths or len(set(widths)) < len(widths):
        message = f"group_fractions {list(fractions)} leave a group of d_sae={d_sae} features empty"
        raise SettingError(message, argument="group_fractions")
    return widths


def _checked(name: str, fractions: Sequence[float], d_sae: int) -> tuple[float, ...]:
    prefix_widths(fractions, d_sae)
    return tuple(fractions)


GroupFractions = Annotated[Sequence[float], _checked]
"""Shares of the features, above 0 and summing to 1, of which each makes at least one feature."""


def nested_loss(forward: ForwardOutput, widths: Sequence[int], W_dec: Tensor, b_dec: Tensor) -> Tensor:
    """Return the mean over prefixes of the squared error of the reconstruction by the first ``width`` features."""
    codes = forward.codes
    entries = _by_group(codes.support, widths)
    if entries is None:
        groups = decoded_groups(codes, widths, W_dec)
        error, residual = _NestedError.apply(forward.x, b_dec, groups, forward.token_unit)
    else:
        error, residual = _SparseNestedError.apply(
            forward.x, b_dec, W_dec, codes.values, codes.support, entries, len(widths), forward.token_unit
        )
    forward.cache_residual(residual)
    return forward.batch.sum(error) / (forward.n_tokens * len(widths))


class _NestedError(Function):
    """Sum of the squares of ``x - b_dec - groups[:, : g + 1].sum(1)`` over all ``g``, and that of the last ``g``."""

    @staticmethod
    def forward(ctx, x: Tensor, b_dec: Tensor, groups: Tensor, token_unit: Tensor | None):
        sums = groups.clone()
        error, residual = _residual_sums_(sums, x - b_dec, token_unit)
        ctx.save_for_backward(sums)
        ctx.mark_non_differentiable(residual)
        return error, residual

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, _):
        (sums,) = ctx.saved_tensors
        grad_groups = sums * (-2 * grad)
        return None, grad_groups[:, 0].sum(0), grad_groups, None


class _SparseNestedError(Function):
    """The same of sparse codes that stand group after group in every row; what the groups add is held once.

    ``entries`` are those of the codes' support, as if every row were as many rows as there are groups.
    """

    @staticmethod
    def forward(ctx, x, b_dec, W_dec, values, support: Support, entries: Support, n_groups, token_unit):
        groups = sparse_products.weighted_sums(values, entries.features, entries.row_offsets, W_dec)
        groups = groups.view(len(x), n_groups, x.shape[1])
        error, residual = _residual_sums_(groups, x - b_dec, token_unit)
        ctx.save_for_backward(groups, W_dec, values)
        ctx.support, ctx.entries = support, entries
        ctx.mark_non_differentiable(residual)
        return error, residual

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, _):
        sums, W_dec, values = ctx.saved_tensors
        flat, order, slope = sums.view(-1, sums.shape[2]), ctx.support.by_feature, -2 * grad
        grad_values = sparse_products.dot_products(ctx.entries, flat, W_dec).mul_(slope)
        rows = ctx.entries.rows.index_select(0, order.entries)
        weights = values.index_select(0, order.entries).mul_(slope)
        grad_W_dec = sparse_products.weighted_sums(weights, rows, order.offsets, flat)
        return None, sums[:, 0].sum(0).mul_(slope), grad_W_dec, grad_values, None, None, None, None


def _residual_sums_(groups: Tensor, left: Tensor, token_unit: Tensor | None) -> tuple[Tensor, Tensor]:
    """Turns what each group adds into what it and all later prefixes leave over, summed, in place.

    That, times -2, is the gradient of the error, for a group is part of all later prefixes. Gives the error, and
    what all groups leave over. On a CPU goes through some rows at a time, so that each is read from memory once.
    """
    n_rows = max(1, len(groups))
    if groups.device.type == "cpu":
        n_rows = max(1, CHUNK_VALUES // (groups.shape[1] * groups.shape[2]))
    error, residual = left.new_zeros(()), torch.empty_like(left)
    units = token_unit.split(n_rows) if token_unit is not None else repeat(None)
    chunks = zip(groups.split(n_rows), left.split(n_rows), residual.split(n_rows), units, strict=False)
    for chunk, before, after, unit in chunks:
        for group in chunk.unbind(1):
            before = torch.sub(before, group, out=group)
        after.copy_(before)
        if unit is not None:
            chunk.mul_(unit[:, None])
        error += chunk.square().sum()
        if unit is not None:
            chunk.mul_(unit[:, None])
        for number in reversed(range(chunk.shape[1] - 1)):
            chunk[:, number] += chunk[:, number + 1]
    return error, residual


def decoded_groups(codes: Codes, widths: Sequence[int], W_dec: Tensor) -> Tensor:
    """Return the ``(n_rows, n_groups, d_in)`` contribution of each group to the reconstruction; differentiable.

    Sparse codes are decoded in one go, as if every row were as many rows as there are groups.
    """
    if codes.support is None:
        groups = pairwise([0, *widths])
        return torch.stack([linear(codes.values[:, start:stop], W_dec[start:stop].t()) for start, stop in groups], 1)
    rows = _group_rows(codes.support, widths)
    values, features = codes.values, codes.support.features
    if (rows.diff() < 0).any():
        order = rows.argsort(stable=True)
        rows, values, features = rows[order], values[order], features[order]
    entries = _with_rows(rows, features, codes.n_rows * len(widths), codes.d_sae)
    return Codes(values, entries).decode(W_dec).view(codes.n_rows, len(widths), W_dec.shape[1])


def _by_group(support: Support | None, widths: Sequence[int]) -> Support | None:
    """The same entries, as if every row were as many rows as there are groups; None unless they stand in that order."""
    if support is None:
        return None
    rows = _group_rows(support, widths)
    if (rows.diff() < 0).any():
        return None
    return _with_rows(rows, support.features, support.n_rows * len(widths), support.d_sae)


def _group_rows(support: Support, widths: Sequence[int]) -> Tensor:
    """``(n_entries,) int64`` row and group of every entry as one number."""
    groups = torch.bucketize(support.features, torch.tensor(widths, device=support.features.device), right=True)
    return support.rows * len(widths) + groups


def _with_rows(rows: Tensor, features: Tensor, n_rows: int, d_sae: int) -> Support:
    """Entries in ascending rows."""
    counts = torch.bincount(rows, minlength=n_rows)
    return Support(torch.nn.functional.pad(counts.cumsum(0), (1, 0)), features, d_sae)
