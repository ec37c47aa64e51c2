"""Products over the active entries only, with gradients.

A dense step multiplies by the ``(n_rows, d_sae)`` codes and by their gradient five times; here every
product but the encoder's touches only the entries of a `Support`. Sums of weighted rows go through
``embedding_bag``, about twice as fast on CPUs as products of CSR matrices and available everywhere; on a GPU
through Triton's kernels where it is installed. Dot products on a CPU are compiled loops where numba is.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from . import buffer_pool, compiled
from .triton_modules import kernels

if TYPE_CHECKING:
    from .support import Support

PART_VALUES = 1 << 20
"""Numbers of a large result that are computed together: 4 MB."""


def decode(values: Tensor, support: Support, W_dec: Tensor) -> Tensor:
    """``(n_rows, d_in)`` sums of decoder rows weighted by the values at a support."""
    return _Decode.apply(values, support, W_dec)


def sampled_product(
    inputs: Tensor, b_dec: Tensor, W_enc: Tensor, b_enc: Tensor, values: Tensor, support: Support
) -> Tensor:
    """``values``, known to be ``inputs @ W_enc + b_enc`` at a support, with the gradient of that.

    ``inputs`` are activations less ``b_dec``; the activations get no gradient.
    """
    return _SampledProduct.apply(inputs, b_dec, W_enc, b_enc, values, support)


def weighted_sums(weights: Tensor, rows: Tensor, offsets: Tensor, matrix: Tensor) -> Tensor:
    """Sum of the matrix's ``rows[offsets[i]:offsets[i + 1]]``, weighted, for every ``i``."""
    if products := _kernels(matrix):
        return products.weighted_sums(weights, rows, offsets, matrix)
    is_large = (len(offsets) - 1) * matrix.shape[1] > buffer_pool.LARGE
    if is_large and matrix.device.type == "cpu" and matrix.dtype == torch.float32:
        return _large_weighted_sums(weights, rows, offsets, matrix)
    return _bags(weights, rows, offsets, matrix)


def _large_weighted_sums(weights: Tensor, rows: Tensor, offsets: Tensor, matrix: Tensor) -> Tensor:
    """The same in parts that stay in the cache until they are copied to memory used before."""
    n, width = len(offsets) - 1, matrix.shape[1]
    sums, n_together = buffer_pool.take(n, width), max(1, PART_VALUES // width)
    for start in range(0, n, n_together):
        part = offsets[start : start + n_together + 1]
        entries = slice(int(part[0]), int(part[-1]))
        sums[start : start + n_together] = _bags(weights[entries], rows[entries], part - part[0], matrix)
    return sums


def _bags(weights: Tensor, rows: Tensor, offsets: Tensor, matrix: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(
        rows, matrix, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


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
        order = ctx.support.by_feature
        grad_W_enc = weighted_sums(grad.index_select(0, order.entries), order.rows, order.offsets, inputs).t()
        grad_b_enc = grad.new_zeros(ctx.support.d_sae).index_add_(0, ctx.support.features, grad)
        return None, -(W_enc @ grad_b_enc), grad_W_enc, grad_b_enc, None, None


def dot_products(support: Support, left: Tensor, right: Tensor) -> Tensor:
    """``(left @ right.T)`` at a support."""
    if products := _kernels(right):
        return products.dot_products(left, right, support.features, support.row_offsets)
    left = left.contiguous()
    if compiled.fits(left) and compiled.fits(right):
        return compiled.dot_products(left, right, support.features, support.row_offsets)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        pattern = torch.sparse_csr_tensor(
            support.row_offsets,
            support.features,
            left.new_zeros(len(support.features)),
            (support.n_rows, support.d_sae),
            check_invariants=False,
        )
    return torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0).values()


def _as_read(matrix: Tensor) -> Tensor:
    """The matrix in the type that its rows are gathered in: under autocast the kernels read half as much."""
    device = matrix.device.type
    if _kernels(matrix) and torch.is_autocast_enabled(device):
        return matrix.to(torch.get_autocast_dtype(device))
    return matrix


def _kernels(matrix: Tensor) -> ModuleType | None:
    return kernels("products", matrix)
