"""Compiled loops for float32 matrices on a CPU, their rows shared out to as many threads as torch uses.

A search reads each matrix once and only candidates twice, which torch's operators cannot express; dot products take
four entries of a row at a time; AdamW reads and writes every number once, where operators do so a dozen times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from . import numba_loops, torch_backend
from .adam import as_stored

if TYPE_CHECKING:
    from .support import Support

Result = TypeVar("Result")


def largest_in_rows(matrix: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See `topk_search.largest_in_rows`; a matrix with a NaN is left to torch."""
    values = np.empty((len(matrix), k), dtype=np.float32)
    columns = np.empty((len(matrix), k), dtype=np.int64)
    entries = matrix.numpy()

    def rows(start: int, stop: int) -> bool:
        return numba_loops.search_rows(entries[start:stop], k, values[start:stop], columns[start:stop])

    if not all(in_threads(rows, len(matrix))):
        return torch_backend.largest_in_rows(matrix, k)
    return torch.from_numpy(values), torch.from_numpy(columns)


def entries_above(matrix: Tensor, lowest: Tensor | float) -> tuple[Tensor, Tensor]:
    """See `topk_search.entries_above`."""
    width = matrix.shape[1]
    bounds = torch.as_tensor(lowest, dtype=torch.float32).expand(width).contiguous().numpy()
    entries = matrix.numpy()

    def rows(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        size = (stop - start) * width
        positions, values = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.float32)  # memory only where filled
        n = numba_loops.search_above(entries[start:stop], bounds, start * width, positions, values)
        return positions[:n].copy(), values[:n].copy()

    positions, values = zip(*in_threads(rows, len(matrix)), strict=True)
    return torch.from_numpy(np.concatenate(positions)), torch.from_numpy(np.concatenate(values))


def dot_products(support: Support, left: Tensor, right: Tensor) -> Tensor:
    """See `sparse_products.dot_products`."""
    products = np.empty(len(support.features), dtype=np.float32)
    given = [tensor.numpy() for tensor in (left, right, support.features, support.row_offsets)]

    def rows(start: int, stop: int) -> None:
        numba_loops.dot_products_of_rows(*given, start, stop, products)

    in_threads(rows, len(left))
    return torch.from_numpy(products)


def by_feature(support: Support, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """See `torch_backend.by_feature`."""
    features = support.features.numpy()
    entries, rows = np.empty(len(features), dtype=np.int64), np.empty(len(features), dtype=np.int64)
    numba_loops.count_by_feature(features, support.row_offsets.numpy(), offsets.numpy().copy(), entries, rows)
    return torch.from_numpy(entries), torch.from_numpy(rows)


def adamw_step(
    parameters: Sequence[nn.Parameter],
    optimizer: AdamW,
    scaler: torch.amp.GradScaler,
    max_grad_norm: float,
    unit_rows: nn.Parameter | None,
) -> None:
    """See `adam.adamw_step`; loops use up the gradients of matrices; vectors and scaled losses are left to torch."""
    if scaler.is_enabled():
        return torch_backend.adamw_step(parameters, optimizer, scaler, max_grad_norm, unit_rows)
    options = {p: group for group in optimizer.param_groups for p in group["params"]}
    matrices = {p: _Matrix(p, optimizer.state[p], p is unit_rows) for p in parameters if p.ndim == 2}
    gradients = [p.grad for p in parameters if p.ndim == 1]
    squares = [matrix.gradient_square() for matrix in matrices.values()]
    squares += [float(gradient.square().sum()) for gradient in gradients]
    clip = min(1.0, max_grad_norm / (sum(squares) ** 0.5 + 1e-6))  # as torch.nn.utils.clip_grad_norm_
    for parameter, matrix in matrices.items():
        matrix.step(options[parameter], clip)
        parameter.grad = None
    for gradient in gradients:
        gradient.mul_(clip)
    optimizer.step()


class _Matrix:
    """A matrix of weights, feature by feature, with its gradient and Adam's moments."""

    def __init__(self, parameter: nn.Parameter, state: dict[str, Tensor], has_unit_rows: bool):
        if not state:
            state["step"] = torch.zeros(())
            state |= {moment: torch.zeros_like(parameter) for moment in ("exp_avg", "exp_avg_sq")}
        self.n_steps, self.has_unit_rows = state["step"], has_unit_rows
        tensors = parameter.detach(), parameter.grad, state["exp_avg"], state["exp_avg_sq"]
        weights, gradient, *moments = [as_stored(tensor, parameter) for tensor in tensors]
        self.arrays = [tensor.numpy() for tensor in (weights, gradient.contiguous(), *moments)]
        self.along = np.zeros(len(weights), dtype=np.float32)

    def gradient_square(self) -> float:
        """Return the squared norm of the gradient, without the part along rows of unit norm, which is remembered."""
        weights, gradient, *_ = self.arrays
        squares = np.empty(len(weights))

        def rows(start: int, stop: int) -> None:
            numba_loops.gradient_squares(weights, gradient, self.has_unit_rows, start, stop, self.along, squares)

        in_threads(rows, len(weights))
        return squares.sum()

    def step(self, options: dict[str, Any], clip: float) -> None:
        """Take one step as torch's AdamW does (Loshchilov and Hutter 2019), with gradients scaled by ``clip``."""
        self.n_steps += 1
        n_steps, (beta1, beta2), lr = self.n_steps.item(), options["betas"], options["lr"]
        decay, rate = 1 - lr * options["weight_decay"], lr / (1 - beta1**n_steps)
        spread = (1 - beta2**n_steps) ** -0.5
        # Rounded last: 1 less 0.999 of float32 is 1e-5 off.
        scalars = [clip, decay, rate, 1 - beta1, beta2, 1 - beta2, options["eps"], spread]
        scalars = np.array(scalars, dtype=np.float32)

        def rows(start: int, stop: int) -> None:
            numba_loops.adamw_rows(*self.arrays, self.along, self.has_unit_rows, scalars, start, stop)

        in_threads(rows, len(self.along))


def in_threads(rows: Callable[[int, int], Result], n_rows: int) -> list[Result]:
    """Return the results for consecutive blocks of rows, one block per thread."""
    n_threads = max(1, min(torch.get_num_threads(), n_rows))
    bounds = np.linspace(0, n_rows, n_threads + 1).astype(int)
    others = [_pool().submit(rows, *bounds[i : i + 2]) for i in range(1, n_threads)]
    return [rows(*bounds[:2]), *(other.result() for other in others)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="biosae-numba")
