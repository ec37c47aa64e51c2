"""The output of a training forward and the progress of its run: the arguments of every loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from biosae.ops.support import Support

from .batch import WHOLE_BATCH, Batch
from .codes import Codes
from .preactivations import PreActivations


@dataclass(frozen=True, eq=False)
class ForwardOutput:
    """One training forward, in normalised units.

    Attributes
    ----------
    x
        ``(n, d_in)`` normalised activations.
    pre
        Encoder output before selection.
    codes
        Selected codes.
    decode
        Function from codes to their reconstruction.
    n_tokens
        Tokens in the batch.
    token_unit
        ``(n, 1)`` one normalised unit as a share of the token's norm, where losses count in that unit; else None.
    batch
        The batch that the rows belong to. Sums over rows become losses by ``batch.sum``.
    """

    x: Tensor
    pre: PreActivations
    codes: Codes
    decode: Callable[[Codes], Tensor]
    n_tokens: int
    token_unit: Tensor | None = None
    batch: Batch = WHOLE_BATCH

    @cached_property
    def reconstruction(self) -> Tensor:
        """``(n, d_in)`` reconstruction, computed on first use."""
        return self.decode(self.codes)

    @cached_property
    def residual(self) -> Tensor:
        """``(n, d_in)`` activations minus reconstruction, without gradient."""
        return self.x - self.reconstruction.detach()

    def cache_residual(self, residual: Tensor) -> None:
        """Keep the residual that a loss has computed, so that codes are not decoded again for it."""
        self.__dict__["residual"] = residual

    def error(self, reconstruction: Tensor) -> Tensor:
        """Return the mean squared error per token of a reconstruction, in loss units."""
        return self.batch.sum(self._squared_error(reconstruction)) / self.n_tokens

    def in_loss_unit(self, codes: Codes) -> Codes:
        """Return codes in the unit in which penalties count them."""
        if self.token_unit is None:
            return codes
        return Codes(codes.values * _per_row(self.token_unit, codes.support), codes.support)

    def _squared_error(self, reconstruction: Tensor) -> Tensor:
        if self.token_unit is not None:
            return squared_error(self.token_unit * self.x, self.token_unit * reconstruction)
        if reconstruction is self.__dict__.get("reconstruction"):
            return _SquaredNorm.apply(reconstruction, self.residual)
        return squared_error(self.x, reconstruction)


@dataclass(frozen=True, eq=False)
class Progress:
    """Progress of a run: ``step`` of ``total_steps``, and ``dead`` ``(d_sae,) bool``, the features counted as dead."""

    step: int
    total_steps: int
    dead: Tensor

    @property
    def fraction(self) -> float:
        """Share of the run that is over, 0 to 1."""
        return self.step / self.total_steps

    def ramp(self, share: float) -> float:
        """Return a weight that rises from 0 to 1 over the first ``share`` of the run."""
        return min(1.0, self.fraction / share) if share > 0 else 1.0


def squared_error(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Return the sum over rows of the squared Euclidean distance."""
    return nn.functional.mse_loss(reconstruction, x, reduction="sum")


def _per_row(numbers: Tensor, support: Support | None) -> Tensor:
    """Return ``(n, 1)`` numbers aligned with the values at a support, or with whole rows without one."""
    return numbers if support is None else numbers.view(-1).index_select(0, support.rows)


class _SquaredNorm(Function):
    """`squared_error` of a reconstruction whose residual is known."""

    @staticmethod
    def forward(ctx, reconstruction: Tensor, residual: Tensor) -> Tensor:
        ctx.save_for_backward(residual)
        flat = residual.reshape(-1)
        return flat.dot(flat)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        (residual,) = ctx.saved_tensors
        return residual * (-2 * grad), None
