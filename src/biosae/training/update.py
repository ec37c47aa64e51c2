"""From gradients to new weights: projected, clipped, Adam, decoder rows back at unit norm.

`by_operators` says it plainly. `in_one_pass` does it to matrices of float32 on a processor, where numba is installed:
its loops read and write every number once, where operators do so a dozen times.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from biosae.ops import compiled
from biosae.saes.base import SAE


def update(sae: SAE, optimizer: Optimizer, scaler: torch.amp.GradScaler, max_grad_norm: float) -> None:
    """Changes the weights by their gradients, which are those of the whole batch.

    ``optimizer`` is torch's AdamW over all parameters; ``scaler`` scaled the loss.
    """
    matrices = [parameter for parameter in sae.parameters() if parameter.ndim == 2]
    if not scaler.is_enabled() and all(compiled.fits(_as_stored(m, m)) for m in matrices):
        in_one_pass(sae, matrices, optimizer, max_grad_norm)
    else:
        by_operators(sae, optimizer, scaler, max_grad_norm)


def by_operators(sae: SAE, optimizer: Optimizer, scaler: torch.amp.GradScaler, max_grad_norm: float) -> None:
    """The update by torch's operators, each of which goes through whole matrices."""
    scaler.unscale_(optimizer)
    sae.project_decoder_gradient()
    nn.utils.clip_grad_norm_(sae.parameters(), max_grad_norm)
    scaler.step(optimizer)
    scaler.update()
    sae.normalize_decoder()


@torch.no_grad()
def in_one_pass(sae: SAE, matrices: list[nn.Parameter], optimizer: Optimizer, max_grad_norm: float) -> None:
    """The update by compiled loops; the gradients of matrices are used up. Vectors are left to torch."""
    options = {p: group for group in optimizer.param_groups for p in group["params"]}
    rows = [_Rows(p, optimizer.state[p], sae.has_unit_norm_decoder and p is sae.W_dec) for p in matrices]
    vectors = [p.grad for p in sae.parameters() if p.ndim == 1]
    squares = [matrix.gradient_square() for matrix in rows] + [float(gradient.square().sum()) for gradient in vectors]
    clip = min(1.0, max_grad_norm / (sum(squares) ** 0.5 + 1e-6))  # as torch.nn.utils.clip_grad_norm_
    for parameter, matrix in zip(matrices, rows, strict=True):
        matrix.adam(options[parameter], clip)
        parameter.grad = None
    torch._foreach_mul_(vectors, clip)
    optimizer.step()
    if not sae.has_unit_norm_decoder:
        sae.normalize_decoder()


class _Rows:
    """A matrix of weights, feature by feature, with its gradient and Adam's moments.

    ``is_held`` rows stay at unit norm: what of their gradient points along them is left out.
    """

    def __init__(self, parameter: nn.Parameter, state: dict[str, Tensor], is_held: bool):
        if not state:
            state["step"] = torch.zeros(())
            state |= {moment: torch.zeros_like(parameter) for moment in ("exp_avg", "exp_avg_sq")}
        self.step, self.is_held = state["step"], is_held
        tensors = parameter.detach(), parameter.grad, state["exp_avg"], state["exp_avg_sq"]
        weights, gradient, *moments = [_as_stored(tensor, parameter) for tensor in tensors]
        self.arrays = [tensor.numpy() for tensor in (weights, gradient.contiguous(), *moments)]
        self.along = np.zeros(len(self.arrays[0]), dtype=np.float32)

    def gradient_square(self) -> float:
        """Squared norm of the gradient, less the part along held rows."""
        weights, gradient, *_ = self.arrays
        squares = np.empty(len(weights))

        def rows(start: int, stop: int) -> None:
            _loops().measure(weights, gradient, self.is_held, start, stop, self.along, squares)

        compiled.in_threads(rows, len(weights))
        return squares.sum()

    def adam(self, options: dict[str, Any], clip: float) -> None:
        """One step as torch's AdamW takes it (Loshchilov and Hutter 2019), with gradients scaled by ``clip``."""
        self.step += 1
        n_steps, (beta1, beta2), lr = self.step.item(), options["betas"], options["lr"]
        decay, rate = 1 - lr * options["weight_decay"], lr / (1 - beta1**n_steps)
        spread = (1 - beta2**n_steps) ** -0.5
        # Rounded last: 1 less 0.999 of float32 is 1e-5 off.
        numbers = [clip, decay, rate, 1 - beta1, beta2, 1 - beta2, options["eps"], spread]
        numbers = np.array(numbers, dtype=np.float32)

        def rows(start: int, stop: int) -> None:
            _loops().adam(*self.arrays, self.along, self.is_held, numbers, start, stop)

        compiled.in_threads(rows, len(self.along))


def _as_stored(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor turned as the parameter lies in memory: feature by feature also where it is ``(d_in, d_sae)``."""
    return tensor if parameter.is_contiguous() else tensor.t()


@cache
def _loops() -> ModuleType:
    return importlib.import_module("biosae.ops.adam_loops")
