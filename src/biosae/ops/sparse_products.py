"""Products over the active entries only, with gradients.

A dense step multiplies by the ``(n_rows, d_sae)`` codes and by their gradient five times; here every
product but the encoder's touches only the entries of a `Support`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .dispatch import implementation, supports

if TYPE_CHECKING:
    from .support import Support


def decode(values: Tensor, support: Support, W_dec: Tensor) -> Tensor:
    """Return the ``(n_rows, d_in)`` sums of decoder rows weighted by the values at a support."""
    return _Decode.apply(values, support, W_dec)


def sampled_product(
    inputs: Tensor, b_dec: Tensor, W_enc: Tensor, b_enc: Tensor, values: Tensor, support: Support
) -> Tensor:
    """Return ``values``, known to be ``inputs @ W_enc + b_enc`` at a support, with the gradient of that.

    ``inputs`` are activations less ``b_dec``, whose own gradient is that of this argument.
    """
    return _SampledProduct.apply(inputs, b_dec, W_enc, b_enc, values, support)


def weighted_sums(weights: Tensor, rows: Tensor, offsets: Tensor, matrix: Tensor) -> Tensor:
    """Return the weighted sum of the matrix's ``rows[offsets[i]:offsets[i + 1]]`` for every ``i``."""
    return implementation("weighted_sums", matrix)(weights, rows, offsets, matrix)


def dot_products(support: Support, left: Tensor, right: Tensor) -> Tensor:
    """Return ``(left @ right.T)`` at a support, ``(n_entries,)``."""
    left = left.contiguous()
    return implementation("dot_products", left, right)(support, left, right)


class _Decode(Function):
    @staticmethod
    def forward(ctx, values: Tensor, support: Support, W_dec: Tensor) -> Tensor:
        W_dec = _as_read(W_dec)
        ctx.save_for_backward(values, W_dec)
        ctx.support = support
        return weighted_sums(values, support.features, support.row_offsets, W_dec)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        values, W_dec = ctx.saved_tensors
        grad = grad.to(W_dec.dtype)
        grad_values = grad_W_dec = None
        if ctx.needs_input_grad[0]:
            grad_values = dot_products(ctx.support, grad, W_dec)
        if ctx.needs_input_grad[2]:
            order = ctx.support.by_feature
            grad_W_dec = weighted_sums(
                values.index_select(0, order.entries), order.rows, order.offsets, grad.contiguous()
            )
        return grad_values, None, grad_W_dec


class _SampledProduct(Function):
    @staticmethod
    def forward(ctx, inputs, b_dec, W_enc, b_enc, values, support):
        ctx.save_for_backward(_as_read(inputs), W_enc)
        ctx.support = support
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        inputs, W_enc = ctx.saved_tensors
        support, order = ctx.support, ctx.support.by_feature
        grad_inputs = None
        if ctx.needs_input_grad[0]:
            grad_inputs = weighted_sums(grad, support.features, support.row_offsets, W_enc.t())
        grad_W_enc = weighted_sums(grad.index_select(0, order.entries), order.rows, order.offsets, inputs).t()
        grad_b_enc = grad.new_zeros(support.d_sae).index_add_(0, support.features, grad)
        return grad_inputs, -(W_enc @ grad_b_enc), grad_W_enc, grad_b_enc, None, None


def _as_read(matrix: Tensor) -> Tensor:
    """Return the matrix in the type that its rows are gathered in: under autocast Triton reads half as much."""
    device = matrix.device.type
    if supports("triton", "weighted_sums", matrix) and torch.is_autocast_enabled(device):
        return matrix.to(torch.get_autocast_dtype(device))
    return matrix
