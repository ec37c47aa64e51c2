"""Affine maps by the faster of the two CPU libraries that torch includes.

torch gives float32 products to Intel's MKL, which on AMD processors uses half of their vector units. oneDNN, which
torch uses for other types, uses them whole: up to 2.4 times the speed (docs/performance.md). On such processors
products and their gradients go there; everywhere else they are torch's own.
"""

from __future__ import annotations

import logging
import platform
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

logger = logging.getLogger(__name__)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, buffer: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias``, ``(..., n_out)``, of ``weight (n_out, n_in)``.

    The result may be written to ``buffer`` where that is faster; then nothing has a gradient.
    """
    if onednn_takes(x) and _is_dense(weight):
        tensors = (x, weight) if bias is None else (x, weight, bias)
        if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)):
            return _by_onednn(x, weight, bias)
        product = _Product.apply(x, weight)
        return product if bias is None else product + bias
    if buffer is not None and bias is not None:
        return torch.addmm(bias, x, weight.t(), out=buffer)
    return nn.functional.linear(x, weight, bias)


def onednn_takes(x: Tensor) -> bool:
    """Return True where products with ``x`` go to oneDNN: its type and device, and the machine, decide."""
    is_plain = x.is_cpu and x.dtype == torch.float32 and type(x) in (Tensor, nn.Parameter)
    return is_plain and x.numel() > 0 and not torch.is_autocast_enabled("cpu") and onednn_is_faster()


def few_rows(x: Tensor) -> int:
    """Return the rows from which a product with ``x`` reaches its full speed; MKL rearranges the weights each time."""
    if x.is_cuda:
        return 1
    return 128 if onednn_takes(x) or torch.is_autocast_enabled(x.device.type) else 1024


class Linear(nn.Linear):
    """torch's ``Linear``, computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


@cache
def onednn_is_faster() -> bool:
    """Return True on an AMD processor with AVX-512 where torch has both libraries."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    is_wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return has_both and is_wide and "AuthenticAMD" in _processor() and _onednn_works()


def _onednn_works() -> bool:
    """Return True where this torch still has the operator, which is private, and takes the same arguments."""
    try:
        return _by_onednn(torch.ones(2, 3), torch.ones(4, 3)).shape == (2, 4)
    except (AttributeError, RuntimeError) as error:
        logger.warning("this torch multiplies by MKL only, so that training takes longer: %s", error)
        return False


def _processor() -> str:
    """Return text that names the processor's maker."""
    listed = Path("/proc/cpuinfo")
    return listed.read_text() if listed.exists() else platform.processor()


def _is_dense(weight: Tensor) -> bool:
    """Return True where ``weight`` or its transpose is contiguous; oneDNN takes a thousand times as long for others."""
    return weight.is_contiguous() or weight.t().is_contiguous()


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Product(Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _by_onednn(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()  # a sum's gradient is one number, expanded
        grad_x = _by_onednn(grad, weight.t()) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return grad_x, None
        return grad_x, _by_onednn(grad.flatten(0, -2).t(), x.flatten(0, -2).contiguous().t())
